"""Processes that count together: real forks, real kills, one folder."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from firstcause.metrics import Metrics
from firstcause.metrics.arena import Arena
from firstcause.metrics.custom import LazyMeterProvider
from firstcause.metrics.group import FOLDED, Group, automatic_folder, birth, folder_name
from firstcause.metrics.prefork import parent
from firstcause.metrics.snapshot import fold, publish
from firstcause.metrics.store import Store
from tests.sdk.metrics.scraped import LABELS, SECOND, distributions, report, value

OK = {"http_request_method": "GET", "http_route": "/a", "http_response_status_code": "200"}
COUNT = "http_server_request_duration_seconds_count"


def member(folder: Path, objectives: tuple[float, ...] = ()) -> Metrics:
    """Metrics of this process in the folder's group."""
    return Metrics(LABELS, objectives, Store(lambda: Group(str(folder), fold), now=True))


class Child:
    """A forked process that does something, says so, and waits to be ended."""

    def __init__(self, work: Callable[[], None]) -> None:
        ready, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                work()
                os.write(said, b"!")
                signal.pause()
            finally:
                os._exit(1)
        os.close(said)
        assert os.read(ready, 1) == b"!"
        os.close(ready)

    def kill(self) -> None:
        """SIGKILL, and reap."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def counting(folder: Path, times: int, **given: object) -> Callable[[], None]:
    """A child's work: count some requests in the folder's group, and publish."""

    def work() -> None:
        metrics = member(folder)
        for _ in range(times):
            metrics.unit(report(**given))
        metrics.watch("db_pool:x", lambda: (1.0, 5.0, 0.0))
        publish(metrics)

    return work


def test_a_fork_takes_no_lock_of_the_folder_along(tmp_path: Path) -> None:
    """Whoever forks while a thread folds waits for it: a child that held the lock would stop every scrape."""
    folder, holds, go = Group(str(tmp_path), fold), threading.Event(), threading.Event()

    def hold() -> None:
        with folder._locked(fcntl.LOCK_EX):
            holds.set()
            go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(10)
    threading.Timer(0.1, go.set).start()  # without waiting the fork would come before
    child = Child(lambda: None)
    holder.join(10)
    try:
        with Group(str(tmp_path), fold)._locked(fcntl.LOCK_EX):
            pass
    finally:
        child.kill()


def test_the_living_and_the_killed_are_counted_alike(tmp_path: Path) -> None:
    """A killed process's counts are in memory that outlives it; its gauges end with it."""
    one, two = Child(counting(tmp_path, 3)), Child(counting(tmp_path, 4))
    metrics = member(tmp_path)
    metrics.unit(report())
    assert (8, 10) == (value(metrics, COUNT, **OK), value(metrics, "firstcause_resource_limit", resource="db_pool:x"))
    one.kill()
    assert (8, 5) == (value(metrics, COUNT, **OK), value(metrics, "firstcause_resource_limit", resource="db_pool:x"))
    two.kill()
    assert 8 == value(metrics, COUNT, **OK)


def test_who_joins_outlasts_a_glance_of_a_sweeper(tmp_path: Path) -> None:
    """Whoever removes old folders locks each arena for a moment, also one that is just being made."""

    def looked_at(path: str) -> Arena:
        arena, glance = Arena(path), os.open(path, os.O_RDONLY)
        fcntl.flock(glance, fcntl.LOCK_SH)
        threading.Timer(0.05, os.close, (glance,)).start()
        return arena

    arena = Group(str(tmp_path), fold).join(looked_at)
    assert [arena.path] == [str(path) for path in tmp_path.glob("*.arena")]


def test_the_dead_are_folded_when_somebody_joins(tmp_path: Path) -> None:
    """Their files go, their counts, exemplars and buckets stay, also for who has read them before."""
    children = [Child(counting(tmp_path, n, trace_id=n, started_ns=n * SECOND)) for n in (1, 2, 3)]
    reader = member(tmp_path)
    reader.unit(report(trace_id=0))
    assert 7 == value(reader, COUNT, **OK)
    for number, child in enumerate(children):
        child.kill()
        member(tmp_path).unit(report(trace_id=0))
        assert 8 + number == value(reader, COUNT, **OK)
    assert FOLDED in os.listdir(tmp_path)
    (point,) = [point for point in distributions(reader, "http.server.request.duration") if point.count]
    assert point.exponential is not None
    assert (10, 10) == (point.count, point.exponential.count)
    assert {3} == {exemplar.trace_id for exemplar in point.exemplars}


def test_cut_off_while_folding_nothing_is_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folded file names whom it holds: files that were not removed are not counted again."""
    Child(counting(tmp_path, 5)).kill()
    removed: list[str] = []
    monkeypatch.setattr(Group, "_remove", lambda _self, name: removed.append(name))
    reader = member(tmp_path)
    reader.store.join()
    assert removed
    assert 5 == value(reader, COUNT, **OK)
    monkeypatch.undo()
    other = member(tmp_path)
    other.store.join()
    assert [5, 5] == [value(reader, COUNT, **OK), value(other, COUNT, **OK)]
    assert removed[0] not in os.listdir(tmp_path)


def test_cut_off_twice_nothing_is_doubled_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first fold left behind is still named by the second."""
    monkeypatch.setattr(Group, "_remove", lambda _self, _name: None)
    for amount in (5, 3):
        Child(counting(tmp_path, amount)).kill()
        member(tmp_path).store.join()
    monkeypatch.undo()
    reader = member(tmp_path)
    reader.store.join()
    assert 8 == value(reader, COUNT, **OK)


def test_a_request_while_the_keeper_joins_is_counted_where_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads want the first slot at once: one arena is made, and what both count is in it."""
    joins, inside, join = list[str](), threading.Event(), Group.join

    def slow(self: Group) -> Arena:
        joins.append(threading.current_thread().name)
        inside.set()
        time.sleep(0.05)  # long enough for the other to come by
        return join(self)

    monkeypatch.setattr(Group, "join", slow)
    metrics = member(tmp_path)
    keeper = threading.Thread(target=metrics.store.join, name="keeper")
    keeper.start()
    assert inside.wait(5)
    metrics.unit(report())
    keeper.join()
    metrics.unit(report())
    assert ["keeper"] == joins
    assert 2 == value(member(tmp_path), COUNT, **OK)


def test_other_objectives_are_counted_together(tmp_path: Path) -> None:
    """After a reload workers with new edges stand beside old ones; every request is in one series."""
    Child(counting(tmp_path, 3)).kill()
    metrics = member(tmp_path, (0.3,))
    metrics.unit(report(wall_ns=SECOND // 4))
    assert 4 == value(metrics, COUNT, **OK)
    assert 1 == value(metrics, "http_server_request_duration_seconds_bucket", **OK, le="0.3")


def test_a_fork_counts_where_its_parent_can_see_it(tmp_path: Path) -> None:
    """Counted in memory alone until the first fork; then both in one folder."""
    metrics = Metrics(LABELS, (), Store(lambda: Group(str(tmp_path), fold)))
    metrics.unit(report())
    meters = LazyMeterProvider(LABELS, explicit=False)
    metrics.custom = meters.collect
    counter = meters.get_meter("host").create_counter("orders")
    counter.add(2)
    assert [] == os.listdir(tmp_path)
    metrics.before_fork()
    meters.before_fork()

    def work() -> None:
        metrics.after_fork()
        meters.after_fork()
        metrics.unit(report())
        metrics.unit(report())
        counter.add(1)
        publish(metrics)

    child = Child(work)
    assert (3, 3) == (value(metrics, COUNT, **OK), value(metrics, "orders_total"))
    child.kill()
    member(tmp_path).store.join()
    assert (3, 3) == (value(metrics, COUNT, **OK), value(metrics, "orders_total"))


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", bytes(100), os.urandom(4096)], ids=["empty", "short", "zero", "noise"]
)
def test_a_damaged_file_costs_its_own_counts_only(tmp_path: Path, damage: bytes) -> None:
    """Whatever lies in the folder, the scrape is answered."""
    metrics = member(tmp_path)
    metrics.unit(report())
    (tmp_path / "1-1.arena").write_bytes(damage)
    (tmp_path / "1-1.state").write_bytes(damage)
    assert 1 == value(metrics, COUNT, **OK)
    member(tmp_path).store.join()
    assert 1 == value(metrics, COUNT, **OK)


def test_those_that_came_and_went_leave_one_file(tmp_path: Path) -> None:
    """Storage is that of the living plus the folded."""
    for _ in range(30):
        Child(counting(tmp_path, 1)).kill()
    metrics = member(tmp_path)
    metrics.store.join()
    assert 30 == value(metrics, COUNT, **OK)
    assert 2 == len(list(tmp_path.glob("*.arena")))


def test_one_leads_and_another_follows_it(tmp_path: Path) -> None:
    """One process pushes for all; when it is gone another does."""
    group = Group(str(tmp_path), fold)
    held: list[int] = []
    child = Child(lambda: held.append(group.lead()))
    assert -1 == group.lead()
    child.kill()
    fd = group.lead()
    assert fd >= 0
    os.close(fd)


def test_the_folder_is_private_and_of_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of parents that are gone are removed with the next start; those in use stay."""
    monkeypatch.setattr("firstcause.metrics.group._base", lambda: str(tmp_path))
    gone = Path(automatic_folder(LABELS, os.getpid()).replace(birth(os.getpid()), "1"))
    gone.mkdir(parents=True)
    used = Path(automatic_folder({**LABELS, "service.version": "2"}, os.getpid()).replace(birth(os.getpid()), "2"))
    child = Child(counting(used, 1))
    mine = automatic_folder(LABELS, os.getpid())
    assert (False, True) == (gone.exists(), used.exists())
    assert 0o700 == os.stat(Path(mine).parent.parent).st_mode & 0o777
    child.kill()


def test_another_version_counts_apart() -> None:
    """A deploy begins at zero; the instance does not matter."""
    assert folder_name(LABELS) == folder_name({**LABELS, "service.instance.id": "other"})
    assert folder_name(LABELS) != folder_name({**LABELS, "service.version": "2"})


def test_a_process_of_its_own_has_no_group() -> None:
    """Only children of a server's master count together without being told."""
    assert parent() is None


def test_births_tell_processes_apart() -> None:
    """An id alone comes again."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
    assert "" != birth(pid) != birth(os.getpid())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert "" == birth(pid)
