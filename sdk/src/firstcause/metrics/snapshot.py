"""From words and states of all processes to families: what every format starts from."""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from .. import conventions
from .._guard import count, guard, self_counts
from ..conventions import BY_NAME, Instrument
from .arena import Follower, Key, Raw, lanes, unpack
from .buckets import PLACES, Exponential, rebucket
from .cells import DETAILS, EXEMPLAR_WORDS, MAGIC, Metrics
from .families import Distribution, Exemplar, Family, Number
from .group import STATE, Member

STARTED = time.time()
MAX_KEYS = 50_000
"""Keys kept of processes that ended; beyond it their series are dropped and counted."""
COUNTS, EXEMPLARS, NATIVE = frozenset("ch"), frozenset("chx"), frozenset("chn")
"""Kinds of records that a format needs: counts alone, with exemplars, with exponential buckets."""
EVERYTHING = EXEMPLARS | NATIVE
RESOURCE = ("in_use", "limit", "waiting")
State = dict[str, Any]
Totals = dict[Key, tuple[int, int]]
"""Sum of `lanes`, and how many slots that is."""


# -- adding up ----------------------------------------------------------------------------------


def add_up(members: Iterable[tuple[Follower, Raw]], kinds: frozenset[str] = EVERYTHING) -> Totals:
    """Sums over all members, key by key, of the wanted kinds of records; of exemplars the newest."""
    totals: Totals = {}
    examples: dict[Key, list[memoryview]] = {}
    for follower, raw in members:
        words = follower.read(raw)
        for record in follower.records:
            key, start, slots = record
            if key[0] not in kinds:
                continue
            if key[0] == "x":
                examples.setdefault(key, []).append(words[start : start + slots])
                continue
            number = words[start] if slots == 1 else lanes(raw, record)
            known = totals.get(key)
            # Other slots under one key would be another version's: the sum goes on with the newer.
            totals[key] = (number if known is None or known[1] != slots else known[0] + number, slots)
    for key, found in examples.items():
        totals[key] = (_newest(found), len(found[0]))
    return totals


def _newest(found: list[memoryview]) -> int:
    """Per bucket the youngest exemplar of all."""
    newest = found[0].tolist()
    for other in found[1:]:
        for at in range(EXEMPLAR_WORDS - 1, min(len(newest), len(other)), EXEMPLAR_WORDS):
            if other[at] and (not newest[at] or other[at - 1] > newest[at - 1]):
                newest[at - EXEMPLAR_WORDS + 1 : at + 1] = other[at - EXEMPLAR_WORDS + 1 : at + 1].tolist()
    return int.from_bytes(array("Q", newest).tobytes(), "little")


def fold(members: list[Member]) -> tuple[Totals, bytes]:
    """What is kept of processes that ended: their counts, not their gauges."""
    followers = [Follower() for _member in members]
    totals = add_up((follower, member.raw) for follower, member in zip(followers, members, strict=True))
    over = list(totals)[MAX_KEYS:]
    for key in over:
        del totals[key]
    if over:
        count("firstcause.self.overflow", len(over), attribute="arena")
    states = [_state_of(member, follower) for member, follower in zip(members, followers, strict=True)]
    return totals, orjson.dumps(merge_states(states))


def _state_of(member: Member, follower: Follower) -> State:
    """A member's cold state; of one that ended without its gauges, which ended with it."""
    kept = [record.key[1].encode() for record in follower.records if record.key[0] == STATE]
    state = load_state(kept[0] if kept else member.state)
    return state if member.alive else {name: part for name, part in state.items() if name != "gauges"}


def load_state(raw: bytes) -> State:
    """A state as another process wrote it; an unreadable one is empty and counted."""
    if not raw:
        return {}
    try:
        found: State = orjson.loads(raw)
    except ValueError:
        count("firstcause.self.errors", place="metrics.state")
        return {}
    return found if isinstance(found, dict) else {}


def merge_states(states: Iterable[State]) -> State:
    """Sums of counters and gauges, the newest details, the earliest start."""
    from .custom import merge_custom

    gauges: dict[tuple[str, ...], float] = {}
    selves: dict[tuple[str, ...], float] = {}
    details: dict[tuple[str, str, str], int] = {}
    started, custom = time.time(), []
    for state in states:
        for into, part in ((gauges, "gauges"), (selves, "selves")):
            for *key, value in state.get(part, ()):
                into[tuple(key)] = into.get(tuple(key), 0) + value
        for culprit, cause, detail, at_ns in state.get("details", ()):
            details[culprit, cause, detail] = max(at_ns, details.get((culprit, cause, detail), 0))
        started = min(started, state.get("started", started))
        custom.append(state.get("custom", ()))
    newest = sorted(details.items(), key=lambda pair: pair[1])[-DETAILS:]
    return {
        "gauges": [[*key, value] for key, value in gauges.items()],
        "selves": [[*key, value] for key, value in selves.items()],
        "details": [[*key, at_ns] for key, at_ns in newest],
        "started": started,
        "custom": merge_custom(custom),
    }


# -- this process -------------------------------------------------------------------------------


def own_state(metrics: Metrics) -> State:
    """What this process says beside its words: gauges, self-metrics, details, custom metrics."""
    custom: list[Any] = []
    with guard("metrics.custom"):
        custom = metrics.custom()
    return {
        "gauges": list(_gauges(metrics)),
        "selves": list(_selves()),
        "details": [[*detail, at_ns] for detail, at_ns in list(metrics.details.items())],
        "started": STARTED,
        "custom": custom,
    }


def _gauges(metrics: Metrics) -> Iterator[list[Any]]:
    yield ["http.server.active_requests", metrics.in_flight()]
    for resource, reading in metrics.readings().items():
        for what, value in zip(RESOURCE, reading, strict=True):
            yield [f"firstcause.resource.{what}", resource, value]
    for signal, waiting in metrics.queues().items():
        yield ["firstcause.self.queue", signal, waiting]


def _selves() -> Iterator[list[Any]]:
    for (name, pairs), value in self_counts().items():
        instrument = BY_NAME.get(name)
        if instrument is not None:
            given = dict(pairs)
            yield [name, *(given.get(attribute, "") for attribute in instrument.attributes), value]
    yield ["firstcause.self.cpu", _own_cpu_s()]


_cpu_s: dict[int, float] = {}
_ended_cpu_s = 0.0


def _own_cpu_s() -> float:
    """CPU seconds of our own threads, those that ended included.

    From the kernel's files: asking the thread's clock for one that has just ended can end the process.
    """
    global _ended_cpu_s
    ours = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("firstcause-")]
    now = {tid: used for tid in ours if tid and tid != os.getpid() and (used := _thread_cpu_s(tid)) is not None}
    for tid in [tid for tid in _cpu_s if tid not in now]:
        _ended_cpu_s += _cpu_s.pop(tid)
    _cpu_s.update(now)
    return _ended_cpu_s + sum(now.values())


def _thread_cpu_s(tid: int) -> float | None:
    try:
        with open(f"/proc/self/task/{tid}/schedstat", "rb") as file:
            return int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def publish(metrics: Metrics) -> None:
    """Leave this process's state to the group, if there is one."""
    group = metrics.store.group
    if group is not None:
        group.publish(orjson.dumps(own_state(metrics)))


# -- families -----------------------------------------------------------------------------------


def snapshot(metrics: Metrics, kinds: frozenset[str] = EVERYTHING) -> list[Family]:
    """Everything that this process and its relatives counted, as far as the wanted kinds of records go."""
    store, others = metrics.store, metrics.store.others()
    followers = [store.follower(member.name) for member in others]
    raws = [(follower, member.raw) for follower, member in zip(followers, others, strict=True)]
    totals = add_up([(store.own, store.raw()), *raws], kinds)
    states = [_state_of(member, follower) for member, follower in zip(others, followers, strict=True)]
    return list(_families(totals, merge_states([own_state(metrics), *states])))


def _families(totals: Totals, state: State) -> Iterator[Family]:
    from .custom import families as custom_families

    found: dict[str, list[Any]] = {}
    natives = {key[1:]: number for key, (number, _slots) in totals.items() if key[0] == "n"}
    exemplars = {key[1:]: (number, slots) for key, (number, slots) in totals.items() if key[0] == "x"}
    for key, (number, slots) in totals.items():
        instrument = BY_NAME.get(key[1]) if len(key) > 1 else None
        if instrument is None:
            continue
        if key[0] == "c":
            value = number / 1e9 if instrument.unit == "s" else number
            found.setdefault(key[1], []).append(Number(_labels(instrument, key[2:]), value))
        elif key[0] == "h":
            native, examples = natives.get(key[1:], 0), exemplars.get(key[1:])
            made = _distribution(instrument, key, unpack(number, slots), native, examples)
            found.setdefault(key[1], []).append(made)
    for name, numbers in _cold(state):
        found.setdefault(name, []).extend(numbers)
    for instrument in conventions.INSTRUMENTS:
        points = found.get(instrument.name, [])
        if instrument.kind == conventions.HISTOGRAM:
            points = _one_per_series(points)
        yield Family(instrument.name, instrument.unit, instrument.kind, instrument.description, points)
    yield from custom_families(state["custom"])


def _labels(instrument: Instrument, values: Iterable[str]) -> dict[str, str]:
    # A record of another version's may have more of them, or fewer.
    return dict(zip(instrument.attributes, values, strict=False))


def _distribution(
    instrument: Instrument, key: Key, words: list[int], native: int, exemplars: tuple[int, int] | None
) -> Distribution:
    edges = [int(edge) / 1e9 for edge in key[2].split(",")]
    return Distribution(
        _labels(instrument, key[3:]), words[0] / 1e9, edges, words[1:],
        Exponential.of_places(unpack(native, PLACES)) if native else Exponential(),
        list(_exemplars(*exemplars)) if exemplars else [],
    )  # fmt: skip


def _exemplars(number: int, slots: int) -> Iterator[Exemplar]:
    words = unpack(number, slots)
    for at in range(0, slots, EXEMPLAR_WORDS):
        high, low, ns, at_ns, check = words[at : at + EXEMPLAR_WORDS]
        # The words are written one by one: read in between, they do not fit together.
        if check and check == high ^ low ^ ns ^ at_ns ^ MAGIC:
            yield Exemplar(high << 64 | low, ns / 1e9, at_ns)


def _one_per_series(points: list[Distribution]) -> list[Distribution]:
    """Series of processes with other objectives have other edges: brought to the finest set of them."""
    found: dict[tuple[str, ...], Distribution] = {}
    for point in points:
        same = tuple(point.labels.values())
        known = found.get(same)
        found[same] = point if known is None else _joined(known, point)
    return list(found.values())


def _joined(one: Distribution, other: Distribution) -> Distribution:
    wanted = max(one.edges, other.edges, key=len)
    counts = [
        a + b
        for a, b in zip(
            rebucket(one.counts, one.edges, wanted), rebucket(other.counts, other.edges, wanted), strict=True
        )
    ]
    assert one.exponential is not None
    assert other.exponential is not None
    return Distribution(
        one.labels, one.sum + other.sum, wanted, counts, one.exponential.plus(other.exponential),
        one.exemplars + other.exemplars,
    )  # fmt: skip


def _cold(state: Mapping[str, Any]) -> Iterator[tuple[str, list[Number]]]:
    for part in ("gauges", "selves"):
        for name, *values, value in state[part]:
            instrument = BY_NAME.get(name)
            if instrument is not None:
                yield name, [Number(_labels(instrument, values), value)]
    detail = BY_NAME["firstcause.cause.detail"]
    yield detail.name, [Number(_labels(detail, key), 1) for *key, _at in state["details"]]
    yield "firstcause.deploy.time", [Number({}, state["started"])]
