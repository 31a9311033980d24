"""One list of names: what code uses is in it, and what is in it code uses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause import conventions
from firstcause.conventions import CAUSES, INSTRUMENTS, KINDS, UNKNOWN, plain_cause, prometheus_name

SOURCE = Path(conventions.__file__).parent
OTHER_NAMES = re.compile(r"firstcause\.(outcome|ledger\.|verdict\.\w+|request|message|testing|configure|shutdown|_\w+(\.\w+)*)?$")
"""Span attributes, event names, calls named in advice, module paths: no instruments."""
UNUSED: frozenset[str] = frozenset()
"""Instruments that are declared before their use, each deliberately."""
PAGES = ("firstcause.page.", "firstcause.rum.")
"""Used by firstcause-rum, whose own tests see to it."""


def _source() -> str:
    return "\n".join(p.read_text("utf-8") for p in SOURCE.rglob("*.py") if p.name != "conventions.py")


def _is_module(name: str) -> bool:
    place = SOURCE.parent / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").exists()


def test_every_name_in_code_is_declared() -> None:
    """A `firstcause.*` literal in the source is an instrument of the list, an attribute or a module."""
    used = set(re.findall(r"[\"'](firstcause\.[a-z_.]+)[\"']", _source()))
    declared = {instrument.name for instrument in INSTRUMENTS}
    assert set() == {n for n in used - declared if not OTHER_NAMES.match(n) and not _is_module(n)}


def test_every_declared_instrument_is_used() -> None:
    """An instrument that no code names is dead, unless it is listed so."""
    text = _source()
    readings = {f"firstcause.resource.{what}" for what in ("in_use", "limit", "waiting") if f'"{what}"' in text}
    unused = {i.name for i in INSTRUMENTS if f'"{i.name}"' not in text and not i.name.startswith(PAGES)} - readings
    assert UNUSED == unused


@pytest.mark.parametrize(
    ("resource", "failed", "cause"),
    [
        ("db:postgresql/shop", False, "db.slow"), ("db:postgresql/shop", True, "db.errors"),
        ("db_pool:main", True, "db.pool_exhausted"), ("lock:a", False, "app.lock"),
        ("limiter:a", False, "limiter.wait"), ("runtime:loop", False, "app.loop_blocked"),
        ("runtime:gil", False, "app.cpu"), ("runtime:gc", False, "app.gc"),
        ("runtime:threadpool", False, "app.threadpool_exhausted"), ("runtime:runqueue", False, "host.cpu"),
        ("runtime:throttled", False, "host.cpu"), ("ingress", False, "ingress.queue"),
        ("client:upload", False, "client.slow_body"), ("cache:a", False, "cache.slow"),
        ("cache:a", True, "cache.errors"), ("http:b", False, "dependency.slow"), ("rpc:b", True, "dependency.errors"),
        ("queue:mail", False, "queue.publish_slow"), ("queue:mail", True, "queue.errors"),
        ("app", False, "app.slow"), ("app", True, "app.exception"), ("pending:x", False, "unknown"),
        ("runtime:new", False, "unknown"), ("", False, "unknown"),
    ],
)  # fmt: skip
def test_plain_cause_of_each_kind(resource: str, failed: bool, cause: str) -> None:
    """Each resource kind has its plain id; what is not in the list is unknown."""
    assert cause == plain_cause(resource, failed)


@given(st.text(max_size=40), st.booleans())
def test_plain_cause_is_closed(resource: str, failed: bool) -> None:
    """Whatever the resource, the answer is a cause of the list."""
    assert plain_cause(resource, failed) in CAUSES


def test_plain_ids_are_causes_with_a_meaning() -> None:
    """Every plain id is a cause, and every cause has one line of meaning."""
    assert set() == {cause for both in KINDS.values() for cause in both} - set(CAUSES)
    assert UNKNOWN in CAUSES
    assert [] == [cause for cause, says in CAUSES.items() if not says.endswith(".") or "\n" in says]


def test_prometheus_names_are_legal_idempotent_and_injective() -> None:
    """No two instruments share a Prometheus name, all are legal, and naming twice changes nothing."""
    names = [prometheus_name(instrument) for instrument in INSTRUMENTS]
    assert len(names) == len(set(names))
    for instrument, name in zip(INSTRUMENTS, names, strict=True):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name == prometheus_name(replace(instrument, name=name))
        assert name.endswith("_total") == (instrument.kind == conventions.COUNTER)


def test_every_attribute_is_bounded() -> None:
    """No instrument has an attribute without a bound on its values."""
    assert [] == [(i.name, a) for i in INSTRUMENTS for a, most in i.attributes.items() if not 0 < most <= 512]
