"""Counters in flat memory: plain, or a file that outlives its process.

An arena is an append-only journal of records, each a key followed by its slots of 64 bits. A counter
is a slot's index, and adding to it costs one read and one write of memory. Backed by a mapped file, what a
killed process has counted is already where its siblings read it.

Two rules keep readers in other processes right without a lock. A record's first word is written last and
holds a checksum of its key: a record that is half there is not there. A slot is eight aligned bytes, which
no reader sees half written. Slots only ever grow, so what a reader adds up is what was counted.
"""

from __future__ import annotations

import mmap
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import orjson

MAGIC = int.from_bytes(b"fcarena1", "little")
HEADER = 3
"""Words before the first record: the magic, where the next record goes, and which arena this is."""
LARGEST = 2048
"""Slots of one record at most."""
SIZE = 64 << 20
CHUNK = 256 << 10
MAX_KEY = 4096
_LOW32 = 0xFFFFFFFF

Raw = bytes | memoryview
Key = tuple[str, ...]
"""What a record is, which instrument, and its attribute values: `("c", "firstcause.request.time", "/a", "app")`."""


class Record(NamedTuple):
    """One key and where its slots are, in words from the start of the arena."""

    key: Key
    start: int
    slots: int


class Arena:
    """Where one process counts. `words[index]` is a slot; indices come from `allocate`.

    With a `path` the arena is that (new) file, else memory. Not thread-safe: the caller holds a lock
    while it allocates or adds.
    """

    def __init__(self, path: str | None = None, size: int = SIZE) -> None:
        self.path = path
        self._fd = -1
        self._size = size
        self._ready = 0
        self._map(path)
        self._used = HEADER
        self.scratch = self._used
        # Slots for whoever finds the arena full: writing there is as good as not counting.
        self._used += LARGEST if self._reserve(HEADER + LARGEST) else 0
        # The third is never 0, which is what a follower has that has read nothing.
        self.words[0], self.words[1], self.words[2] = MAGIC, self._used, secrets.randbits(63) + 1

    def _map(self, path: str | None) -> None:
        if path is None:
            self._ready = self._size
            try:
                # Address space, mostly: a page costs memory once it is written to.
                self._memory: mmap.mmap | bytearray = mmap.mmap(-1, self._size)
            except OSError:  # a limit of address space
                self._ready = self._size = CHUNK
                self._memory = bytearray(CHUNK)
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(self._fd, self._size)
                if not self._reserve(HEADER + LARGEST):
                    raise OSError("no room for an arena")  # noqa: TRY301
                self._memory = mmap.mmap(self._fd, self._size)
            except BaseException:
                os.close(self._fd)
                os.unlink(path)
                raise
        self.words = memoryview(self._memory).cast("Q")

    @property
    def fd(self) -> int:
        """The file's descriptor, -1 in memory."""
        return self._fd

    def _reserve(self, words: int) -> bool:
        """Make sure that the first `words` have storage: touching a page that the disk has no room for kills."""
        while self._ready < words * 8:
            if self._ready + CHUNK > self._size:
                return False
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(self._fd, self._ready, CHUNK)
                else:
                    os.pwrite(self._fd, bytes(CHUNK), self._ready)
            except OSError:
                return False
            self._ready += CHUNK
        return True

    def allocate(self, key: Key, slots: int) -> int:
        """Index of the first of `slots` new slots, all zero; 0 when there is no room."""
        raw = _dump(key)
        size = 2 + -(-len(raw) // 8) + slots
        at = self._used
        if slots > LARGEST or len(raw) > MAX_KEY or not self._reserve(at + size + 1):
            return 0
        words = self.words
        words[at + 1] = len(raw) | slots << 32
        memoryview(self._memory)[(at + 2) * 8 : (at + 2) * 8 + len(raw)] = raw
        words[at] = size | zlib.crc32(raw) << 32
        self._used = at + size
        words[1] = self._used
        return at + size - slots

    def raw(self) -> bytes:
        """A copy of everything used so far."""
        return bytes(memoryview(self._memory)[: self._used * 8])

    def moved(self, path: str) -> Arena:
        """The same counts in a file; indices stay. The old arena must not be used any more."""
        other = Arena(path, self._size)
        if not other._reserve(self._used + 1):
            other.close()
            os.unlink(path)
            raise OSError("no room for an arena")
        memoryview(other._memory)[: self._used * 8] = memoryview(self._memory)[: self._used * 8]
        other._used = self._used
        return other

    def close(self) -> None:
        """Let go of the file, and with it of its lock; the counts stay in it."""
        self.words = memoryview(b"").cast("Q")
        if isinstance(self._memory, mmap.mmap):
            with suppress(BufferError):  # somebody still adds: the mapping goes with them
                self._memory.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _dump(key: Key) -> bytes:
    try:
        return orjson.dumps(key)
    except TypeError:  # a lone surrogate
        return orjson.dumps([text.encode("utf-8", "replace").decode() for text in key])


class Follower:
    """Reads one arena again and again; parses only what is new."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._at = HEADER + LARGEST
        self._arena = 0
        self._buffer = bytearray()

    def contents(self, fd: int) -> memoryview:
        """What is used of an arena's file; good until the next call.

        Read, not mapped: a file cut short cannot hurt its reader. Into the same memory each time, since getting
        fresh pages costs more than the copy.
        """
        head = os.pread(fd, 16, 0)
        if len(head) < 16 or int.from_bytes(head[:8], "little") != MAGIC:
            return memoryview(b"")
        used = min(int.from_bytes(head[8:], "little") * 8, os.fstat(fd).st_size)
        if len(self._buffer) < used:
            self._buffer = bytearray(used + CHUNK)
        return memoryview(self._buffer)[: os.preadv(fd, [memoryview(self._buffer)[:used]], 0)]

    def read(self, raw: Raw) -> memoryview:
        """The words of `raw` (from `Arena.raw` or `contents`), with `records` brought up to date."""
        words = memoryview(raw)[: len(raw) // 8 * 8].cast("Q")
        if len(words) < HEADER or words[0] != MAGIC:
            return words
        if words[2] != self._arena:  # the folded ones are written anew under the same name
            self.records, self._at, self._arena = [], HEADER + LARGEST, words[2]
        if len(words) > self._at:
            for record, after in _walk(raw, words, self._at):
                self.records.append(record)
                self._at = after
        return words


def _walk(raw: Raw, words: memoryview, at: int) -> Iterator[tuple[Record, int]]:
    """Whole records from word `at` on; stops at the first that is not."""
    end = min(len(words), words[1])
    while at + 2 < end:
        size, key_bytes = words[at] & _LOW32, words[at + 1] & _LOW32
        slots = words[at + 1] >> 32
        if size != 2 + -(-key_bytes // 8) + slots or at + size > end:
            return
        key = bytes(raw[(at + 2) * 8 : (at + 2) * 8 + key_bytes])
        if zlib.crc32(key) != words[at] >> 32:
            return
        try:
            parsed = tuple(map(str, orjson.loads(key)))
        except (ValueError, TypeError):
            return
        yield Record(parsed, at + size - slots, slots), at + size
        at += size


def lanes(raw: Raw, record: Record) -> int:
    """All slots of a record as one number: adding two of them adds slot by slot, at the speed of C."""
    return int.from_bytes(raw[record.start * 8 : (record.start + record.slots) * 8], "little")


def unpack(number: int, slots: int) -> list[int]:
    """The slots of a sum of `lanes`."""
    return memoryview(number.to_bytes(slots * 8, "little")).cast("Q").tolist()
