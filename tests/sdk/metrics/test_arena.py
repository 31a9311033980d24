"""Counters in flat memory: whatever a reader sees was counted, wherever the writer was stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause.metrics.arena import CHUNK, LARGEST, Arena, Follower, lanes, unpack

keys = st.tuples(st.sampled_from("chn"), st.text(max_size=20))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), keys, st.integers(1, 12)),
        st.tuples(st.just("add"), st.integers(0, 30), st.integers(1, 9)),
        st.tuples(st.just("read")),
    ),
    max_size=60,
)
small = 4 * CHUNK


def _clean(key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.encode("utf-8", "replace").decode() for part in key)


@given(steps)
def test_any_interleaving_of_writing_and_reading_agrees(script: list[Any]) -> None:
    """At each reading, every record says what was added to it until then."""
    arena, follower = Arena(size=small), Follower()
    made: list[tuple[tuple[str, ...], int, int]] = []
    model: dict[int, int] = {}
    for step in [*script, ("read",)]:
        if step[0] == "new":
            made.append((_clean(step[1]), arena.allocate(step[1], step[2]), step[2]))
        elif step[0] == "add" and made:
            _key, start, slots = made[step[1] % len(made)]
            at = start + step[2] % slots
            arena.words[at] += step[2]
            model[at] = model.get(at, 0) + step[2]
        elif step[0] == "read":
            raw = arena.raw()
            words = follower.read(raw)
            assert made == [tuple(record) for record in follower.records]
            for _key, start, slots in made:
                assert [model.get(at, 0) for at in range(start, start + slots)] == words[start : start + slots].tolist()


@given(st.lists(keys, max_size=12), st.data())
def test_a_file_cut_short_or_scribbled_over_yields_whole_records_only(
    wanted: list[tuple[str, ...]], data: st.DataObject
) -> None:
    """A prefix of the records, never half of one; a damaged key ends the reading."""
    arena = Arena(size=small)
    made = [(_clean(key), arena.allocate(key, 3), 3) for key in wanted]
    raw = bytearray(arena.raw())
    cut = data.draw(st.integers(0, len(raw)))
    follower = Follower()
    follower.read(bytes(raw[:cut]))
    assert made[: len(follower.records)] == [tuple(record) for record in follower.records]
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    Follower().read(bytes(raw))  # whatever it finds, it does not raise


@given(st.lists(st.lists(st.integers(0, 1 << 50), min_size=4, max_size=4), min_size=1, max_size=9))
def test_lanes_add_slot_by_slot(rows: list[list[int]]) -> None:
    """One addition of large numbers adds each slot to its own."""
    total = 0
    for row in rows:
        arena = Arena(size=small)
        start = arena.allocate(("h", "x"), 4)
        for offset, value in enumerate(row):
            arena.words[start + offset] = value
        follower = Follower()
        raw = arena.raw()
        follower.read(raw)
        total += lanes(raw, follower.records[0])
    assert [sum(column) for column in zip(*rows, strict=True)] == unpack(total, 4)


def test_a_full_arena_refuses_and_keeps_what_it_has() -> None:
    """No room is an answer, not an error; the scratch slots take what has no place."""
    arena = Arena(size=CHUNK)
    first = arena.allocate(("c", "first"), 1)
    arena.words[first] = 7
    while arena.allocate(("n", "more"), LARGEST):
        pass
    assert 0 == arena.allocate(("n", "more"), LARGEST)
    arena.words[arena.scratch + LARGEST - 1] += 1
    assert 7 == arena.words[first]


def test_storage_is_taken_chunk_by_chunk(tmp_path: Path) -> None:
    """The file is large and holds little: only what is used has blocks, and those it surely has."""
    arena = Arena(str(tmp_path / "a"), 64 * CHUNK)
    assert CHUNK == os.stat(tmp_path / "a").st_blocks * 512
    for n in range(40):
        arena.allocate(("n", str(n)), LARGEST)
    used = os.stat(tmp_path / "a").st_blocks * 512
    assert CHUNK < used < 4 * CHUNK
    arena.close()


def test_a_disk_without_room_refuses_instead_of_killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Touching a page that has no block behind it would end the host with SIGBUS."""
    arena = Arena(str(tmp_path / "a"), 64 * CHUNK)

    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    while arena.allocate(("n", "x"), LARGEST):
        pass
    assert 0 == arena.allocate(("n", "x"), LARGEST)
    arena.close()


def test_moving_keeps_counts_and_indices(tmp_path: Path) -> None:
    """What was counted in memory goes on in a file, at the same index."""
    arena = Arena(size=small)
    start = arena.allocate(("c", "x"), 1)
    arena.words[start] = 5
    moved = arena.moved(str(tmp_path / "a"))
    moved.words[start] += 1
    follower = Follower()
    raw = follower.contents(moved.fd)
    assert [6] == follower.read(raw)[start : start + 1].tolist()
    assert [("c", "x")] == [record.key for record in follower.records]
    moved.close()


def test_a_lone_surrogate_does_not_cost_the_record() -> None:
    """A label that UTF-8 cannot say is replaced."""
    arena, follower = Arena(size=small), Follower()
    assert arena.allocate(("c", "\ud800"), 1)
    follower.read(arena.raw())
    assert [("c", "?")] == [record.key for record in follower.records]
