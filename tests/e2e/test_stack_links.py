"""From a page, by its links alone: to a request that suffered, to its lines, to the dashboard's answers."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from dashboards import lint, live
from dashboards.__main__ import HERE
from dashboards.provisioning import FOLDER
from dashboards.queries import asked
from demo_app.chain import SLOS, Chain, programs
from demo_app.load import Load
from demo_app.receiver import Notice, Receiver, pages

from .stack import Span, spans_of, until
from .visitors import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
FAULT = "exception"
TRACES = "http://127.0.0.1:16686"
"""Where the shop's objectives say that Jaeger is; here it has another port."""
PANELS = {
    ("Bad now", "prometheus"), ("Causes now", "prometheus"), ("Which routes?", "prometheus"),
    ("Requests that failed", "jaeger"), ("What did it complain about?", "loki"),
}  # fmt: skip
"""What of the incident's dashboard has to have an answer while product pages fail."""


@dataclass(frozen=True, slots=True)
class Paged:
    """The page as it was read, and where its stores are."""

    running: Running
    notice: Notice
    began: float
    """Seconds since the epoch."""
    urls: dict[str, str]

    def link(self, name: str) -> str:
        """The address behind a name in the page's text."""
        found = re.search(rf"^{name}: (\S+)$", self.notice.text, re.MULTILINE)
        assert found is not None, self.notice.text
        return found[1]


@pytest.fixture(name="paged", scope="module")
def _paged(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    """A page about the shop, whose traces and lines are in the stack; the fault lasts as long as the tests."""
    folder, receiver = tmp_path_factory.mktemp("links"), Receiver()
    urls = {name: f"http://127.0.0.1:{running.stack.ports[name]['query']}" for name in ("jaeger", "loki")}
    slos = folder / "slos.yml"
    slos.write_text(SLOS.read_text().replace(TRACES, urls["jaeger"]))
    began, load = time.time(), Load(f"http://127.0.0.1:{running.shop.ports['gateway']}", 7)
    try:
        with Chain(folder / "chain", programs(), receiver.url, slos=slos) as chain:
            chain.scrape(running.shop.metrics)
            load.start()
            running.shop.break_(FAULT)
            (notice, *_) = until(lambda: pages(receiver.notices), "a page", pause_s=0.1)
            yield Paged(running, notice, began, {**urls, "prometheus": f"http://127.0.0.1:{chain.ports['prometheus']}"})
    finally:
        running.shop.mend(FAULT)
        load.stop()
        receiver.close()


@pytest.fixture(name="trace", scope="module")
def _trace(paged: Paged) -> tuple[str, list[Span]]:
    """The first trace behind the page's link: what Jaeger's page asks its API with the address's own parameters."""
    address = paged.link("Traces").replace("/search?", "/api/traces?")

    def found() -> tuple[str, list[Span]] | None:
        with urllib.request.urlopen(address, timeout=20) as reply:
            traces = json.load(reply)["data"]
        return (traces[0]["traceID"].rjust(32, "0"), spans_of(traces[0])) if traces else None

    first: tuple[str, list[Span]] = until(found, f"a trace behind {address}")
    return first


def test_the_link_to_traces_is_a_page_of_jaeger(paged: Paged) -> None:
    """The address as it stands is answered."""
    with urllib.request.urlopen(paged.link("Traces"), timeout=20) as reply:
        assert (200, "text/html") == (reply.status, reply.headers.get_content_type())


def test_the_link_leads_to_a_request_that_suffered_of_the_named_cause(
    paged: Paged, trace: tuple[str, list[Span]]
) -> None:
    """A span of it failed, and its verdict is what the page names first."""
    bad = [span["tags"] for span in trace[1] if span["tags"].get("firstcause.outcome") == "error"]
    said = {(tags["firstcause.verdict.service"], tags["firstcause.verdict.cause"]) for tags in bad}
    assert paged.notice.causes[0] in said


def test_the_trace_leads_to_its_lines(paged: Paged, trace: tuple[str, list[Span]]) -> None:
    """By the query that the data source of traces is provisioned with: the failed request's line, with its verdict."""
    sources = yaml.safe_load((FOLDER / "datasources" / "firstcause.yaml").read_text())["datasources"]
    ways = next(source["jsonData"] for source in sources if source["uid"] == "jaeger")
    query = ways["tracesToLogsV2"]["query"].replace("$$", "$").replace("${__trace.traceId}", trace[0])

    def told() -> list[dict[str, str]]:
        lines = paged.running.stack.logs(query, paged.began - 60)
        return [line for line in lines if line.get("outcome") == "error"]

    assert paged.notice.causes[0] in {(line["verdict_service"], line["verdict_cause"]) for line in until(told, query)}


def test_the_link_to_the_dashboard_sets_all_that_its_panels_ask(paged: Paged) -> None:
    """With nothing but the address: the committed board of that uid, and answers from all three stores."""
    address = urllib.parse.urlsplit(paged.link("Dashboard"))
    board = lint.read(HERE)[address.path.removeprefix("/d/")]
    given = {
        name.removeprefix("var-"): value
        for name, value in urllib.parse.parse_qsl(address.query)
        if name.startswith("var-")
    }
    assert {variable["name"] for variable in board["templating"]["list"]} == set(given)
    wanted = [query for query in asked(board) if (query.panel, query.source) in PANELS]
    assert len(PANELS) == len(wanted)
    values = {**given, "__rate_interval": "30s", "__range": "5m"}
    for query in wanted:
        source = query.source
        until(lambda s=source, q=query: live.STORES[s](paged.urls[s], q, values), query.place)  # type: ignore[misc]
