"""Processes that answer `/metrics` for one another: a folder with one arena each, and one for the dead.

A process is alive while it holds the lock of its own arena, which the kernel takes from it however it
ends: process ids that come again, and killed workers, need no care. Whoever joins folds the dead into one
file under the folder's lock, so storage stays that of the living plus one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .._guard import count, guard
from .arena import SIZE, Arena, Follower, Key, Raw

FOLDED = "folded.arena"
SOURCE, STATE = "source", "state"
"""Keys of the folded arena's own records: which files are already in it, and their cold state."""
WAIT_S = 2.0
_unforked = threading.RLock()
"""Held while a lock of a file is: a child forked meanwhile would hold it too, and for as long as it lives."""
LARGEST_STATE = 4 << 20


def _before_fork() -> None:
    _unforked.acquire()


def _after_fork() -> None:
    _unforked.release()


def _in_child() -> None:
    global _unforked
    _unforked = threading.RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


class Member(NamedTuple):
    """What one process counted: hot words and cold state, and whether it still runs."""

    name: str
    raw: Raw
    state: bytes
    alive: bool


class Group:
    """One folder of arenas. `fold` adds up keys and states of the dead; it is given by who knows their meaning."""

    def __init__(self, folder: str, fold: Callable[[list[Member]], tuple[dict[Key, tuple[int, int]], bytes]]) -> None:
        self.folder = folder
        self._fold = fold
        self._name = ""
        self._wrote = b""
        self._followers: dict[str, Follower] = {}
        os.makedirs(folder, 0o700, exist_ok=True)

    def join(self, made: Callable[[str], Arena] = Arena) -> Arena:
        """Make this process's arena here (`made` may bring counts along) and fold the dead."""
        self._name, self._wrote = f"{os.getpid()}-{time.time_ns()}.arena", b""
        hidden = self._path(self._name + ".new")
        arena = made(hidden)
        # Before it gets its name: an arena that nobody holds is taken for that of a dead process. Whoever
        # sweeps old folders holds it for a moment, to see whether somebody does.
        _take(arena.fd, fcntl.LOCK_EX, hidden)
        os.rename(hidden, self._path(self._name))
        arena.path = self._path(self._name)
        with guard("metrics.fold"):
            self.fold_dead()
        return arena

    def again(self) -> Group:
        """The same folder for a child, which joins with a name of its own."""
        return Group(self.folder, self._fold)

    def publish(self, state: bytes) -> None:
        """Leave this process's cold state for the others, whole or not at all."""
        if state == self._wrote or not self._name:
            return
        if len(state) > LARGEST_STATE:
            count("firstcause.self.dropped", signal="metrics", reason="queue_full")
            return
        path = self._path(self._name.replace(".arena", ".state"))
        with open(path + ".new", "wb") as file:
            file.write(state)
        os.rename(path + ".new", path)
        self._wrote = state

    def members(self) -> list[Member]:
        """Everybody but the caller, the folded ones first."""
        with self._locked(fcntl.LOCK_SH):
            names = self._arenas()
            # Only those that are still there: the others' buffers go with them.
            self._followers = {name: self.follower(name) for name in names}
            found = [self._member(name, self.follower(name)) for name in names if name != self._name]
        folded = next((member for member in found if member.name == FOLDED), None)
        # Where folding was cut off, some are in the folded file and still here.
        done = _sources(folded) if folded else set()
        return [member for member in found if member.name not in done]

    def follower(self, name: str) -> Follower:
        """What is known of a member's records."""
        return self._followers.setdefault(name, Follower())

    def fold_dead(self) -> None:
        """Add the dead to the folded file and remove theirs; nothing is lost or doubled wherever it is cut off."""
        with self._locked(fcntl.LOCK_EX):
            members = [self._member(name) for name in self._arenas() if name != self._name]
            dead = [member for member in members if not member.alive and member.name != FOLDED]
            folded = [member for member in members if member.name == FOLDED]
            done = _sources(folded[0]) if folded else set()
            new = [member for member in dead if member.name not in done]
            if new:
                self._write_folded(folded, new, dead)
            # Last: whoever folds next finds those that are left here among the sources.
            for member in dead:
                self._remove(member.name)

    def _write_folded(self, folded: list[Member], new: list[Member], dead: list[Member]) -> None:
        totals, state = self._fold(folded + new)
        hidden = self._path(f"{FOLDED}.{os.getpid()}.new")
        with suppress(FileNotFoundError):
            os.unlink(hidden)
        arena = Arena(hidden, SIZE)
        try:
            for key, (number, slots) in totals.items():
                at = arena.allocate(key, slots)
                if at:
                    memory = arena.words[at : at + slots].cast("B")
                    memory[:] = number.to_bytes(slots * 8, "little")
                else:
                    count("firstcause.self.overflow", attribute="arena")
            arena.allocate((STATE, state.decode()), 0)
            # Also those of a fold before that was cut off: their files are still here.
            for member in dead:
                arena.allocate((SOURCE, member.name), 0)
            # Nobody adds to it any more: the room for growth is given back.
            os.ftruncate(arena.fd, len(arena.raw()))
            os.rename(hidden, self._path(FOLDED))
        finally:
            arena.close()

    def _member(self, name: str, follower: Follower | None = None) -> Member:
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Member(name, b"", b"", alive=False)
        try:
            alive = name != FOLDED and not _lockable(fd)
            return Member(name, (follower or Follower()).contents(fd), self._state(name), alive)
        finally:
            os.close(fd)

    def _state(self, name: str) -> bytes:
        try:
            with open(self._path(name.replace(".arena", ".state")), "rb") as file:
                return file.read(LARGEST_STATE)
        except OSError:
            return b""

    def _remove(self, name: str) -> None:
        for path in (self._path(name), self._path(name.replace(".arena", ".state"))):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _arenas(self) -> list[str]:
        names = [name for name in os.listdir(self.folder) if name.endswith(".arena")]
        return sorted(names, key=lambda name: (name != FOLDED, name))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with _unforked:
            fd = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _take(fd, how, self.folder)
                yield
            finally:
                os.close(fd)

    def lead(self) -> int:
        """A descriptor that makes its holder the one that pushes for all; -1 while somebody else has it."""
        with _unforked:
            fd = os.open(self._path("leader"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _try(fd, fcntl.LOCK_EX):
                return fd
            os.close(fd)
            return -1

    def born_ns(self) -> int:
        """When the first of the group began to count, the same for all."""
        # Nothing is ever written to the lock's file, so this is when it was made.
        return os.stat(self._path("lock")).st_mtime_ns if os.path.exists(self._path("lock")) else time.time_ns()


def _take(fd: int, how: int, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    # Asked again and again, because a waiting flock knows no time-out.
    while not _try(fd, how):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is locked for more than {WAIT_S:.0f} s")
        time.sleep(0.002)


def _try(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lockable(fd: int) -> bool:
    """Whether nobody holds the lock; takes it for a moment, shared, so that two who ask do not see each other."""
    if not _try(fd, fcntl.LOCK_SH):
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _sources(folded: Member) -> set[str]:
    follower = Follower()
    follower.read(folded.raw)
    return {record.key[1] for record in follower.records if record.key[0] == SOURCE}


# -- which folder -------------------------------------------------------------------------------


def folder_name(labels: Mapping[str, str]) -> str:
    """One folder per service and version, so that a new version does not go on counting for the old."""
    service = "".join(c if c.isalnum() or c in "-_" else "-" for c in labels.get("service.name", ""))[:40]
    same = sorted((k, v) for k, v in labels.items() if k != "service.instance.id")
    return f"{service}-{hashlib.sha256(repr(same).encode()).hexdigest()[:10]}"


def automatic_folder(labels: Mapping[str, str], parent: int) -> str:
    """A private folder for the children of one parent; removes those whose parent and members are gone."""
    base = os.path.join(_base(), f"firstcause-{os.getuid()}")
    os.makedirs(base, 0o700, exist_ok=True)
    found = os.stat(base, follow_symlinks=False)
    # What it lies in is open to all: another user may have made this folder first, or a link.
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{base} is not private to this user")
    for name in os.listdir(base):
        with suppress(OSError):
            _sweep(os.path.join(base, name))
    return os.path.join(base, f"{parent}-{birth(parent)}", folder_name(labels))


def _base() -> str:
    """Memory rather than a disk, where there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else tempfile.gettempdir()  # noqa: S108


def _sweep(folder: str) -> None:
    parent, _, born = os.path.basename(folder).partition("-")
    if parent.isdigit() and birth(int(parent)) == born and born:
        return
    for path, _folders, names in os.walk(folder):
        for name in names:
            if name.endswith((".arena", ".new")) and name != FOLDED and _held(os.path.join(path, name)):
                return
    shutil.rmtree(folder, ignore_errors=True)


def _held(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lockable(fd)
    finally:
        os.close(fd)


def birth(pid: int) -> str:
    """When a process began, in the kernel's ticks: tells it from a later one with its id. Empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # A program's name may hold brackets and spaces: count from behind the last one.
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "0"
    return "0"
