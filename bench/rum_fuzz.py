"""Mutated beacons through the whole endpoint: no 5xx, no error of ours, no label beyond its bound, no growth.

Seeded: a beacon, a boomerang query or a Faro payload is mutated as a structure, as text or as bytes, and sent through
the same core that both servers use, in this process, with the SDK on and its pipelines sending nowhere.
"""

from __future__ import annotations

import copy
import gzip
import random
import resource
import string
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from firstcause import _guard, _setup
from firstcause.conventions import BY_NAME
from firstcause.mesh.marks import derive, page_mark

from . import rum

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -1e308, 2**63, 2**64, 1.5, float("1e-320"), "", "\x00", "x" * 600, "😀" * 40,
    "NaN", "../../etc/passwd", "<script>", "' OR 1=1", "{{7*7}}", [], {}, [[]], {"a": {"b": {}}}, 8.2e11, 3_600_000.1,
    "\u202e",
)  # fmt: skip
KEY = "what pages of the fuzz are signed with"
LONG = 4000
LEAK_KB = 512
"""In a tenth of a run of 100,000: 50 bytes per payload."""
STATUSES = frozenset((204, 400, 413, 429))
FARO: dict[str, Any] = {
    "meta": {"sdk": {"name": "faro", "version": "2.12.1"}, "app": {"name": "shop"}, "session": {"id": "x"}},
    "measurements": [{"type": "web-vitals", "values": {"lcp": 2300}, "timestamp": "2026-01-01T00:00:00Z"}],
    "exceptions": [{"type": "Error", "value": "x", "stacktrace": {"frames": [{"filename": "a.js", "lineno": 1}]}}],
    "events": [{"name": "click", "domain": "browser"}], "logs": [], "traces": {"resourceSpans": []},
}  # fmt: skip
BOOMERANG = {
    "t_done": 2300, "t_resp": 200, "nt_dns_st": 1, "nt_req_st": 30, "pt.fcp": 900, "pt.lcp": 2100, "pt.lcp.e": "img",
    "et.inp": 80, "c.cls": 0.1, "err": "R6", "mob.etype": "4g", "rt.si": "abc-1", "rt.sl": 3, "pid": "x1",
    "http.initiator": "spa", "sb": 1, "u": "https://shop.example/", "vis.st": "visible", "sv": 14, "sm": "p",
}  # fmt: skip


def valid(draw: random.Random) -> dict[str, Any]:
    """A beacon to begin with; its route, release and ids are a stranger's. Half are of pages that we served: joined."""
    parent, now = f"00-{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-01", int(time.time())
    forged = f"{now}.{draw.getrandbits(64):016x}"
    return {
        "v": 1, "ses": f"{draw.getrandbits(128):032x}", "id": f"{draw.getrandbits(128):032x}", "seq": draw.randrange(3),
        "sent": draw.random() * 1e5, "url": f"https://shop.example/{word(draw)}/{draw.randrange(99)}",
        "route": word(draw), "rel": word(draw), "nav": draw.choice(["navigate", "prerender", word(draw)]),
        "dev": "mobile", "tz": word(draw),
        "tp": parent, "mark": draw.choice([forged, page_mark(derive(KEY), parent, now)]),
        "items": draw.sample(rum.items(draw), draw.randint(1, 4)),
    }  # fmt: skip


def word(draw: random.Random) -> str:
    """A made-up name."""
    return "".join(draw.choices(string.ascii_letters + "/_ é", k=draw.randint(1, 12)))


def mutate(value: Any, draw: random.Random) -> Any:
    """The same structure with one place of it replaced, doubled, renamed or removed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        name = draw.choice(list(value))
        if draw.random() < 0.15:
            del value[name]
        elif draw.random() < 0.1:
            value[word(draw)] = value[name]
        else:
            value[name] = mutate(value[name], draw)
        return value
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        value[at] = mutate(value[at], draw)
        if draw.random() < 0.05 and len(dumped(value)) < LONG:
            # Copies: were they the same object, the next mutation would hit all forty, and this program's own memory
            # be what is measured.
            return [copy.deepcopy(one) for _ in range(40) for one in value]
        return value
    return draw.choice(ODD)


def _structure(draw: random.Random) -> bytes:
    body: Any = valid(draw)
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        if isinstance(body, dict) and "items" in body and draw.random() < 0.7:  # else most would be refused at the door
            body["items"] = mutate(body["items"], draw)
        else:
            body = mutate(body, draw)
    return dumped(body)


def _bytes(draw: random.Random) -> bytes:
    raw = bytearray(dumped(valid(draw)))
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(raw))
        raw[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 4))
    return bytes(raw[: draw.randint(0, len(raw))] if draw.random() < 0.2 else raw)


def _faro(draw: random.Random) -> bytes:
    return dumped(mutate(copy.deepcopy(FARO), draw))


def _boomerang(draw: random.Random) -> bytes:
    return urlencode({k: draw.choice([v, word(draw)]) for k, v in BOOMERANG.items()}).encode()


def _deep(draw: random.Random) -> bytes:
    pair = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    n = draw.choice([5, 7, 100, 2000])
    return pair[0] * n + b"1" + pair[1] * n


KINDS: tuple[tuple[Callable[[random.Random], bytes], int], ...] = (
    (_structure, 60), (_bytes, 20), (_faro, 8), (_boomerang, 6), (_deep, 2),
)  # fmt: skip


def dumped(body: Any) -> bytes:
    """As JSON, whatever it is by now."""
    try:
        return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits
        return repr(body).encode()


def head(draw: random.Random) -> dict[str, str]:
    """Mostly a browser's; sometimes with something odd in it."""
    found = {
        "host": "shop.example", "origin": "https://shop.example", "content-type": "text/plain;charset=UTF-8",
        "user-agent": rum.AGENT, "x-forwarded-for": f"198.51.{draw.randrange(256)}.{draw.randrange(256)}",
    }  # fmt: skip
    if draw.random() < 0.1:
        found[draw.choice([*found, "content-length", "content-encoding", "sec-fetch-site"])] = str(draw.choice(ODD))
    return found


def run(n: int, seed: int) -> int:
    """Send `n` payloads; print what came back; 0 when nothing was wrong."""
    import firstcause
    from firstcause_rum import Config
    from firstcause_rum.core import Core, Reply

    firstcause.configure(
        "fuzz", traces=False, log_stream="none", metrics_exporters=("none",), endpoint="http://127.0.0.1:9",
        log_queue=1000, log_batch=500, mesh_key=KEY,
    )  # fmt: skip
    rates: dict[str, Any] = dict.fromkeys(("address_rate", "total_rate"), 1e6)
    bursts: dict[str, Any] = dict.fromkeys(("address_burst", "total_burst"), 10**6)
    core = Core(Config(views=2000, addresses=2000, settle_s=0.5, settle_late_s=1, **rates, **bursts))
    draw, answers, sizes = random.Random(seed), Counter[str](), list[int]()
    makers, weights = zip(*KINDS, strict=True)
    begun = time.perf_counter()
    for sent in range(n):
        (make,) = draw.choices(makers, weights)
        raw, headers = make(draw), head(draw)
        if draw.random() < 0.05:
            raw, headers["content-encoding"] = gzip.compress(raw, 1), "gzip"
        visit = core.admit("POST", headers, f"203.{draw.randrange(256)}.{draw.randrange(256)}.7")
        reply = visit if isinstance(visit, Reply) else core.accept(visit, raw)
        answers[str(reply.status)] += 1
        if (sent + 1) % max(1, n // 10) == 0:
            sizes.append(resident_kb())
            print(f"{sent + 1}: {dict(answers)}, {sizes[-1] >> 10} MB, {time.perf_counter() - begun:.0f} s", flush=True)
    core.settle(everything=True)
    problems = judge(answers, sizes, len(core.views))
    problems += [] if joined() else ["no view was joined, so that what only those tell was not tried"]
    print("\n".join(problems) or f"nothing wrong in {n} payloads, seed {seed}; peak {peak_kb() >> 10} MB")
    return 1 if problems else 0


def judge(answers: Counter[str], sizes: list[int], views: int) -> list[str]:
    """What must not be."""
    found = [f"{n} answers of {status}" for status, n in answers.items() if int(status) not in STATUSES]
    errors = {key: n for key, n in _guard.self_counts().items() if key[0] == "firstcause.self.errors"}
    found += [f"errors of our own: {errors}"] if errors else []
    found += [f"{views} views remembered"] if views > 2000 else []
    found += [
        f"{name}: {label} takes {len(values)} values" for (name, label), values in labels().items()
        if len(values) > BY_NAME[name].attributes[label] + 1
    ]  # fmt: skip
    # The first half fills what is bounded. A single step afterwards is a heap that once had to hold large payloads; a
    # leak of 50 bytes per payload would be seen in most of the last five tenths.
    steps = [after - before for before, after in pairwise(sizes[-6:])]
    if sum(step > LEAK_KB for step in steps) > 2:
        found.append(f"memory grew from {sizes[-6]} to {sizes[-1]} kB in the second half")
    return found


def labels() -> dict[tuple[str, str], set[str]]:
    """Every value that a label of ours has taken."""
    recorder = _setup.recorder()
    assert recorder is not None
    found: dict[tuple[str, str], set[str]] = {}
    keys = [(name, *key) for name, key in recorder.metrics._calls] + list(recorder.metrics._counters)
    for name, *values in keys:
        for label, value in zip(BY_NAME[name].attributes, values, strict=True):
            found.setdefault((name, label), set()).add(value)
    return found


def joined() -> bool:
    """Whether some page view proved which trace it came from."""
    return any("true" in values for (_name, label), values in labels().items() if label == "joined")


def resident_kb() -> int:
    """Memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 10


def peak_kb() -> int:
    """The most it had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
