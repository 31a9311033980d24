"""Secrets and personal data of some fifty kinds, planted wherever users and services can put them, reach no store."""

from __future__ import annotations

import json
import os
import secrets
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collector.planting import logs, metrics, spans
from tests.collector.specimens import HARMLESS, KEYS, TEXTS, planted, secret

from .otlp import post
from .stack import until
from .visitors import Running, Visit, visit

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ALL = {**TEXTS, **KEYS}


def header(text: str) -> str:
    """As a header's value: on one line."""
    return text.encode("ascii", "ignore").decode().replace("\n", " ")


def plant_by_visitor(running: Running, text: str) -> Visit:
    """In the query, the path, headers, and baggage of a request to the shop."""
    quoted = urllib.parse.quote(text, safe="")
    head = {
        "authorization": f"Bearer {quoted}", "cookie": f"note={quoted}", "x-api-key": quoted, "x-note": header(text),
        "referer": f"http://shop.example/?note={quoted}", "user-agent": f"visitor {header(text)}",
        "baggage": f"note={quoted}", "x-forwarded-for": "198.51.100.23",
    }  # fmt: skip
    visit(running.shop, f"/nothing/{quoted}", **head)
    return visit(running.shop, f"/products/1?note={quoted}&password={quoted}", **head)[0]


@pytest.fixture(name="stored", scope="module")
def _stored(running: Running) -> Iterator[dict[str, str]]:
    """All that the stores say by their APIs, once what was planted has arrived."""
    began, trace = time.time() - 1, secrets.token_hex(16)
    stack = running.stack
    visits = [plant_by_visitor(running, planted(marked)) for marked in TEXTS.values()]
    for signal, body in (
        ("traces", spans(TEXTS, KEYS, HARMLESS, trace)), ("logs", logs(TEXTS, KEYS, HARMLESS, trace)),
        ("metrics", metrics(TEXTS, KEYS, HARMLESS)),
    ):  # fmt: skip
        post(stack, signal, body)
    until(lambda: len(stack.trace(trace)) > len(TEXTS), "the planted trace in Jaeger")
    until(
        lambda: len(stack.logs(f'{{service_name="planted"}} | trace_id="{trace}"', began)) > len(TEXTS),
        "its records in Loki",
    )
    until(lambda: stack.query("planted_total"), "the planted metric in Prometheus")
    until(lambda: stack.trace(visits[-1].trace), "the last visitor's trace")
    until(
        lambda: stack.logs(f'{{service_name="gateway"}} | trace_id="{visits[-1].trace}"', began), "the visitor's line"
    )
    yield everything(running, began)


def everything(running: Running, since: float) -> dict[str, str]:
    """The answers of the three stores about all services since then, as text."""
    ask, begin, end = running.stack.ask, since, time.time()
    services = ask("jaeger", "/api/services")["data"]
    traces = [
        ask("jaeger", "/api/traces", service=name, limit=5000, start=int(begin * 1e6), end=int(end * 1e6))
        for name in services
    ]
    lines = [
        ask(
            "loki",
            "/loki/api/v1/query_range",
            query=f'{{service_name="{name}"}}',
            limit=5000,
            start=int(begin * 1e9),
            end=int(end * 1e9),
        )
        for name in ask("loki", "/loki/api/v1/label/service_name/values")["data"]
    ]
    series: Any = ask("prometheus", "/api/v1/series", **{"match[]": '{__name__=~".+"}'})
    found = {"jaeger": traces, "loki": lines, "prometheus": series}
    return {store: json.dumps(said, ensure_ascii=False) for store, said in found.items()}


@pytest.mark.parametrize("name", ALL)
def test_no_store_has_it(stored: dict[str, str], name: str) -> None:
    """Neither as it was, nor as a URL has it, nor as JSON in JSON."""
    what = secret(ALL[name])
    forms = {what, urllib.parse.quote(what, safe=""), urllib.parse.quote(what)}
    assert [] == [store for store, text in stored.items() if any(form in text for form in forms)]


def test_what_is_no_secret_is_there(stored: dict[str, str]) -> None:
    """The search would find it: harmless neighbours of the secrets are in all three."""
    said = [json.dumps(text, ensure_ascii=False)[1:-1] for text in HARMLESS.values()]
    assert {"jaeger", "loki", "prometheus"} == {
        store for store, text in stored.items() if all(one in text for one in said)
    }


def test_no_file_of_a_store_or_queue_has_it(running: Running, stored: dict[str, str]) -> None:
    """Nor do bytes in the folders of stores and queues; packed blocks are what the test by API is for."""
    wanted = {name: secret(marked).encode() for name, marked in ALL.items()}
    files = [path for path in running.stack.folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert files
    assert [] == [(str(path), name) for path in files for name in found_in(path, wanted)]


def found_in(path: Path, wanted: dict[str, bytes]) -> set[str]:
    """Which of the secrets a file has."""
    try:
        return {name for piece in pieces(path) for name, what in wanted.items() if what in piece}
    except FileNotFoundError:  # a store tidies up
        return set()


def pieces(path: Path) -> Iterator[bytes]:
    """What was written into a file: stores set aside gigabytes that are holes."""
    with path.open("rb", buffering=0) as file:
        end = 0
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # no more data
                return
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            yield os.pread(file.fileno(), end - begin, begin)
