"""Which line of the application made a call: looked up under the kit only, since it walks the stack."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_SDK = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STDLIB = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def place() -> str:
    """`file:line in function` of the innermost frame of the application, "" when there is none."""
    frames = list(_stack(sys._getframe(1)))
    found = next((frame for frame in frames if _is_own(frame.f_code.co_filename)), None) or _installed(frames)
    return "" if found is None else f"{_short(found.f_code.co_filename)}:{found.f_lineno} in {found.f_code.co_name}"


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """From the inside out, on through the greenlets that SQLAlchemy's async engines run drivers in."""
    while frame is not None:
        yield frame
        frame = frame.f_back
    greenlet = sys.modules.get("greenlet")
    above = greenlet.getcurrent().parent if greenlet is not None else None
    while above is not None:
        frame = above.gr_frame
        while frame is not None:
            yield frame
            frame = frame.f_back
        above = above.parent


def _is_own(name: str) -> bool:
    return not (name.startswith(("<frozen", _SDK)) or any(part in name for part in _INSTALLED) or _standard(name))


def _standard(name: str) -> bool:
    return name.startswith(_STDLIB)


def _installed(frames: list[FrameType]) -> FrameType | None:
    """An application that is itself installed: the first frame beyond the library that made the call."""
    library = ""
    for frame in frames:
        package = _package(frame.f_code.co_filename)
        library = library or package
        if package and package != library:
            return frame
    return None


def _package(name: str) -> str:
    """The top folder or module of an installed file, "" for anything else and for the SDK itself."""
    for part in _INSTALLED:
        _before, found, after = name.partition(part)
        if found and not name.startswith(_SDK):
            return after.split(os.sep)[0]
    return ""


def _short(name: str) -> str:
    """Relative to the working directory when it is below it, as pytest prints paths."""
    path = Path(name)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else name
