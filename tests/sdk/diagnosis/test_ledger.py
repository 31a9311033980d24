"""The ledger is the request's critical path, and its shares sum to the wall time."""

from __future__ import annotations

import pickle
import sys
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstcause.diagnosis import ledger as module
from firstcause.diagnosis.clock import Clock
from firstcause.diagnosis.ledger import FRAME, Frame, Ledger, close_frame, open_frame, stamp, stamped

RESOURCES = ("db:a", "http:b", "cache:c")


class Time:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture(name="time")
def _time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "perf_counter_ns", time)
    return time


@dataclass
class Known:
    """A frame as the oracle remembers it."""

    parent: Known | None
    resource: str
    start: int
    end: int | None = None
    cancelled: bool = False
    children: list[Known] = field(default_factory=list)

    def last(self) -> int:
        """The end of the whole subtree."""
        assert self.end is not None
        return max([self.end, *(child.last() for child in self.children)])


def owner(siblings: list[Known], t: int) -> Known | None:
    """Who owns the instant `t`, straight from the definition."""
    active = [k for k in siblings if k.start <= t < k.last()]
    if not active:
        return None
    winner = max(active, key=lambda k: (not k.cancelled, k.last()))
    return owner(winner.children, t) or winner


def expected_shares(frames: list[Known], start: int, end: int) -> dict[str, int]:
    """Brute force: every nanosecond asked on its own."""
    kept = [k for k in frames if k.end is not None]
    top: list[Known] = []
    for known in kept:
        above = known.parent
        while above is not None and above.end is None:
            above = above.parent
        (top if above is None else above.children).append(known)
    shares: dict[str, int] = {}
    for t in range(start, end):
        found = owner(top, t)
        name = "app" if found is None else found.resource
        shares[name] = shares.get(name, 0) + 1
    return shares


STEPS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from(["open", "open", "close", "close", "cancel"]),
        st.integers(0, 10),
        st.integers(0, 2),
    ),
    max_size=24,
)


@settings(max_examples=1500, deadline=None)
@given(steps=STEPS, tail=st.integers(1, 3))
def test_any_interleaving_equals_the_brute_force_oracle(steps: list[tuple[int, str, int, int]], tail: int) -> None:
    """Nesting, overlap, early end, cancellation, zombies and forgotten frames settle as defined."""
    time = Time()
    original, module.perf_counter_ns = module.perf_counter_ns, time
    try:
        ledger = Ledger(Clock(), time.now)
        frames: list[tuple[Frame, Known]] = []
        for dt, action, pick, kind in steps:
            time.now += dt
            _step(ledger, frames, action, pick, RESOURCES[kind], time.now)
        time.now += tail
        shares = ledger.finish(time.now)
    finally:
        module.perf_counter_ns = original
    actual = {name: ns for name, ns in shares.items() if ns and not name.startswith("runtime:")}
    assert sum(shares.values()) == ledger.wall
    assert expected_shares([k for _f, k in frames], 1_000, time.now) == actual


def _step(
    ledger: Ledger, frames: list[tuple[Frame, Known]], action: str, pick: int, resource: str, now: int
) -> None:
    if action == "open":
        choices: list[tuple[Frame, Known | None]] = [(ledger.root, None), *frames]
        parent, known = choices[pick % len(choices)]
        while known is not None and known.end is not None:
            known = known.parent
        frame = ledger.open(resource, "", parent)
        assert frame is not None
        frames.append((frame, Known(known, resource, now)))
        return
    still = [(f, k) for f, k in frames if k.end is None]
    if still:
        frame, known = still[pick % len(still)]
        known.end, known.cancelled = now, action == "cancel"
        ledger.close(frame, None, False, action == "cancel")


def test_ten_thousand_sequential_frames_take_constant_memory(time: Time) -> None:
    """A frame that closed alone is settled and forgotten, also below a parent that stays open."""
    ledger = Ledger(Clock(), time.now)
    parent = ledger.open("http:logical", "", ledger.root)
    assert parent is not None
    sizes = []
    for n in range(10_000):
        time.now += 1
        frame = ledger.open("db:a", "", parent)
        time.now += 2
        close_frame(frame)
        if n in (100, 9_999):
            sizes.append((len(ledger.accounts), ledger._record, sys.getsizeof(ledger.accounts)))
    assert sizes[0] == sizes[1]
    close_frame(parent)
    shares = ledger.finish(time.now)
    assert {"db:a": 20_000, "http:logical": 10_000, "app": 0} == shares


def test_overlap_without_end_is_bounded(time: Time) -> None:
    """A frame that stays open beside thousands of others keeps at most the cap of them."""
    ledger = Ledger(Clock(), time.now)
    long = ledger.open("http:stream", "", ledger.root)
    for _ in range(5_000):
        time.now += 1
        close_frame(ledger.open("db:a", "", ledger.root))
        assert ledger._record is not None
        assert len(ledger._record) <= module.CAP + 1
    close_frame(long)
    assert {"http:stream": 5_000, "app": 0, "db:a": 0} == {"db:a": 0, **ledger.finish(time.now)}


def test_the_pause_before_a_hand_written_retry_belongs_to_the_call(time: Time) -> None:
    """The gap between a failed frame and the next of the same resource and parent is that resource's."""
    ledger = Ledger(Clock(), time.now)
    first = ledger.open("http:b", "", ledger.root)
    time.now += 10
    close_frame(first, failed=True)
    time.now += 100
    second = ledger.open("http:b", "", ledger.root)
    time.now += 10
    close_frame(second)
    time.now += 5
    assert {"http:b": 120, "app": 5} == ledger.finish(time.now)


def test_a_wait_is_not_billed_for_our_own_slowness(time: Time) -> None:
    """Loop lateness inside a waiting frame goes to the runtime."""
    clock = Clock()
    clock.due = 1 << 62
    ledger = Ledger(clock, time.now)
    frame = ledger.open("http:b", "", ledger.root)
    time.now += 307_000_000
    clock.stalled(297_000_000, "handler (app.py:1)")
    close_frame(frame)
    assert {"http:b": 10_000_000, "runtime:loop": 297_000_000, "app": 0} == ledger.finish(time.now)


def test_who_blocks_the_loop_and_then_waits_is_booked_the_block(time: Time) -> None:
    """The loop says it was late only inside the next, short wait; the block before it is the loop's all the same."""
    clock = Clock()
    clock.due = 1 << 62
    clock.asked = time.now
    ledger = Ledger(clock, time.now)
    time.now += 600_000_000
    frame = ledger.open("http:b", "", ledger.root)
    time.now += 1_000_000
    clock.asked = 0
    clock.stalled(601_000_000)
    time.now += 19_000_000
    close_frame(frame)
    assert {"http:b": 19_000_000, "runtime:loop": 601_000_000, "app": 0} == ledger.finish(time.now)


def test_who_blocks_the_loop_and_answers_at_once_is_booked_the_block(time: Time) -> None:
    """The unit is over before the loop could say anything."""
    clock = Clock()
    clock.due = 1 << 62
    clock.asked = time.now
    ledger = Ledger(clock, time.now)
    time.now += 600_000_000
    assert {"runtime:loop": 600_000_000, "app": 0} == ledger.finish(time.now)


def test_frames_after_the_end_change_nothing(time: Time) -> None:
    """A unit that ended takes no frames, and a late close is ignored."""
    ledger = Ledger(Clock(), time.now)
    late = ledger.open("db:a", "", ledger.root)
    time.now += 7
    assert {"app": 7} == ledger.finish(time.now)
    close_frame(late)
    assert ledger.open("db:a", "", ledger.root) is None
    assert {} == {name: a.ns for name, a in ledger.accounts.items()}


def test_threads_of_one_unit_lose_nothing() -> None:
    """Eight threads with a thousand frames each: every frame is counted, the shares sum to the wall time."""
    ledger = Ledger(Clock(), module.perf_counter_ns())

    def work(name: str) -> None:
        for _ in range(1_000):
            close_frame(ledger.open(name, "", ledger.root))

    threads = [threading.Thread(target=work, args=(f"db:{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shares = ledger.finish(module.perf_counter_ns())
    assert [1_000] * 8 == [ledger.accounts[f"db:{n}"].count for n in range(8)]
    assert ledger.wall == sum(shares.values())
    assert min(shares.values()) >= 0


def test_so_far_sums_to_the_time_elapsed(time: Time) -> None:
    """A verdict asked for at the first byte sees open frames as if they ended now."""
    ledger = Ledger(Clock(), time.now)
    outer = ledger.open("http:b", "", ledger.root)
    time.now += 5
    assert outer is not None
    ledger.open("db:a", "", outer)
    ledger.open("cache:c", "", ledger.root)
    time.now += 5
    so_far = ledger.so_far(time.now)
    assert 10 == sum(so_far.values())


def test_outside_a_unit_there_is_no_frame() -> None:
    """Adapters work, and book nothing, where no unit is active."""
    assert FRAME.get() is None
    assert open_frame("db:a") is None
    close_frame(None)


def test_a_stamped_exception_can_be_pickled(time: Time) -> None:
    """Process pools send exceptions home by pickle; the frame does not travel."""
    error = stamp_on(LookupError("gone"), Ledger(Clock(), time.now).root)
    copied = pickle.loads(pickle.dumps(error))
    assert ("gone",) == copied.args
    assert stamped(copied) is None


def stamp_on(error: Exception, frame: Frame) -> Exception:
    """The error, stamped."""
    stamp(error, frame)
    assert stamped(error) is frame
    return error
