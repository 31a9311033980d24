"""What assertions accept, and what their failures show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import firstcause
from firstcause.testing import Capture
from firstcause.testing.limits import Limit
from firstcause.testing.taken import Call, Request
from firstcause.testing.words import ROWS, normalised, one, table
from tests.sdk.testing.shop import flask_shop


@pytest.fixture(name="orders")
def _orders(capture: Capture, database: Path) -> Capture:
    """One request that asks four times."""
    app = flask_shop(database)
    firstcause.configure(service="orders", app=app)
    app.test_client().get("/orders/7")
    return capture


def failure(assertion: Callable[[], object]) -> str:
    """The text of the assertion's failure."""
    with pytest.raises(AssertionError) as raised:
        assertion()
    return str(raised.value)


@pytest.mark.parametrize("limit", ["<=4", "<5", "==4", ">=4", "> 3", " <= 4 "])
def test_a_number_of_queries_within_its_limit_passes(orders: Capture, limit: str) -> None:
    """Every operator holds for four queries."""
    orders.assert_queries(limit)
    orders.assert_queries(limit, route="GET /orders/<int:order_id>", resource="db:sqlite/shop.db")


@pytest.mark.parametrize("limit", ["<=3", "<4", "==3", ">=5", ">4"])
def test_a_number_of_queries_beyond_its_limit_fails(orders: Capture, limit: str) -> None:
    """Every operator fails for four queries, and the failure says both numbers."""
    assert failure(lambda: orders.assert_queries(limit)).startswith(f"4 queries, expected {limit}\n")


def test_a_failure_shows_queries_places_and_ledger(orders: Capture) -> None:
    """Queries grouped by normalised text and place, most frequent first, then where the time went."""
    lines = failure(lambda: orders.assert_queries("<=3")).splitlines()
    here = re.escape(str(Path(__file__).with_name("shop.py").relative_to(Path.cwd())))
    assert re.fullmatch(r"GET /orders/<int:order_id> 200, ok, [\d.]+ ms", lines[2])
    assert re.fullmatch(rf"  3 × +[\d.]+ ms  SELECT name FROM items WHERE id = \?  +at {here}:\d+ in \w+", lines[3].replace("<listcomp>", "order"))
    assert re.fullmatch(rf"  1 × +[\d.]+ ms  SELECT id FROM items WHERE order_id = \?  +at {here}:\d+ in order", lines[4])
    assert re.fullmatch(r"  ledger: \S+ [\d.]+ ms \(\d+ %\), .*", lines[5])
    assert {"app", "db:sqlite/shop.db"} <= {part.split()[0] for part in lines[5].removeprefix("  ledger: ").split(", ")}
    assert 6 == len(lines)


@pytest.mark.parametrize("limit", ["<50ms", "<=0.05s", ">100us", "==20%", ">=20%", "< 20.1%"])
def test_time_within_its_limit_passes(capture: Capture, limit: str) -> None:
    """10 ms of 50 ms, in every unit, of a kind and of a resource."""
    spend(capture)
    capture.assert_spends("db", limit)
    capture.assert_spends("db:shop", limit, route="load")


@pytest.mark.parametrize(("limit", "says"), [("<10ms", "10ms"), (">0.01s", "0.01s"), ("<20%", "20%"), ("==1us", "1e+04us")])
def test_time_beyond_its_limit_fails(capture: Capture, limit: str, says: str) -> None:
    """The failure says what was spent, in the unit that was asked in, and where the rest went."""
    spend(capture)
    text = failure(lambda: capture.assert_spends("db", limit))
    assert text.startswith(f"{says} spent in db, expected {limit}\n")
    assert "ledger: app 40.0 ms (80 %), db:shop 10.0 ms (20 %)" in text


def spend(capture: Capture) -> None:
    """A unit of 50 ms, 10 of them in the database."""
    clock = capture.freeze()
    with capture.unit("load"):
        clock.tick("40ms")
        with firstcause.spending("db:shop"):
            clock.tick("10ms")


def test_nothing_spent_is_within_any_bound(capture: Capture) -> None:
    """A resource that was not used took 0, also of a unit that took no time."""
    capture.freeze()
    with capture.unit("load"):
        pass
    capture.assert_spends("cache", "<1ms")
    capture.assert_spends("cache", "<1%")


def test_a_cause_is_asserted_with_its_evidence(capture: Capture) -> None:
    """Objectives may be those of the test; the failure shows the verdict there was."""
    firstcause.configure(objectives={"default": 0.02})
    spend(capture)
    capture.assert_cause("app.slow", service="test", via="", route="load")
    text = failure(lambda: capture.assert_cause("db.slow", via="db_pool"))
    assert text.startswith("another cause, expected db.slow via db_pool\n")
    assert "cause: app.slow in test (80 %)" in text
    assert "load, slow, 50.0 ms" in text


def test_a_quick_request_has_no_cause(orders: Capture) -> None:
    """Nothing slow or failed is no cause, and the failure shows what there was."""
    text = failure(lambda: orders.assert_cause("db.slow"))
    assert text.startswith("no request was slow or failed, expected db.slow\n\nGET /orders/<int:order_id> 200, ok")


def test_errors_are_of_requests_logs_and_the_sdk(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed unit, a logged error and an error of the SDK each fail, and say which."""
    with capture.unit("load"):
        firstcause.get_logger().warning("odd")
    capture.assert_no_errors()
    with capture.unit("load"):
        firstcause.get_logger().error("lost", order_id=7)
    assert f"errors were logged:\n  [error] lost order_id=7 request_id='{2:032x}'" in failure(capture.assert_no_errors)
    with pytest.raises(KeyError), capture.unit("store"):
        raise KeyError("tea")
    text = failure(capture.assert_no_errors)
    assert text.startswith("requests failed\n\nstore 500, error (KeyError), ")
    assert "cause: app.exception in test" in text
    capture.clear()
    with capture.unit("load"):
        firstcause._guard.count("firstcause.self.errors", place="x")
    assert "the SDK itself had errors" in failure(capture.assert_no_errors)


def test_a_record_is_found_by_event_and_fields(capture: Capture) -> None:
    """The first one that has all fields, dots as underscores; else the near ones are shown."""
    with capture.unit("load"):
        firstcause.get_logger("shop").info("paid", order_id=7, **{"cup.kind": "tall"})
    assert 7 == capture.assert_logged("paid", order_id=7, cup_kind="tall").attributes["order_id"]
    assert "ok" == capture.assert_logged("message", route="load").attributes["outcome"]
    text = failure(lambda: capture.assert_logged("paid", order_id=8))
    assert text.startswith("nothing logged like [any] paid order_id=8; there were:\n  [info] paid logger='shop' order_id=7")
    assert "message" not in text


def test_nothing_captured_is_no_success(capture: Capture, orders: Capture) -> None:
    """Without a request of the route every assertion fails, and says what there was."""
    assert "there were: GET /orders/<int:order_id>" in failure(lambda: orders.assert_queries("<=3", route="/other"))
    capture.clear()
    for assertion in (
        lambda: capture.assert_queries("<=3"), lambda: capture.assert_spends("db", "<1s"),
        lambda: capture.assert_cause("db.slow"), capture.assert_no_errors,
    ):
        assert "no request was captured: is the application attached" in failure(assertion)
    assert "(no records)" in failure(lambda: capture.assert_logged("paid"))


@pytest.mark.parametrize("text", ["3", "=3", "<=three", "<=3 rows", "<=-1", "", "<=3ms", None])
def test_a_limit_that_cannot_be_read_is_an_error(capture: Capture, text: str) -> None:
    """It is a mistake of the test, so no assertion error, and it says how limits are written."""
    with pytest.raises(ValueError, match=r"write an operator .* as in '<=3'"):
        capture.assert_queries(text)


def test_a_limit_of_time_needs_a_unit(capture: Capture) -> None:
    """A bare number would be guessed at."""
    with pytest.raises(ValueError, match="as in '<50ms' or '<20%'"):
        capture.assert_spends("db", "<50")


def test_limits_compare_in_their_own_unit() -> None:
    """Seconds become the limit's unit, or its percentage of the whole; of nothing, nothing."""
    assert 50 == Limit.parse("<50ms", ("ms",)).of(0.05, 1)
    assert 5 == Limit.parse("<50%", ("%",)).of(0.05, 1)
    assert 0 == Limit.parse("<50%", ("%",)).of(0.0, 0.0)


@pytest.mark.parametrize("values", ["?, ?", "?,?,?", "%(id_1)s, %(id_2)s", "$1::INTEGER, $2::INTEGER", ":a, :b"])
def test_lists_of_values_are_one_text(values: str) -> None:
    """However many values a statement lists, and in whichever style, it is one group."""
    assert "SELECT a FROM t WHERE id IN (?, …) AND b = ?" == normalised(f"SELECT a FROM t WHERE id IN ({values}) AND b = ?")


def test_long_tables_are_cut() -> None:
    """Beyond a dozen texts only their number is told; an unknown place is a question mark."""
    calls = [Call("db:shop", f"SELECT {'x' * n}", "", 0.001, failed=False) for n in range(ROWS + 3)]
    rows = table(calls)
    assert (ROWS + 1, "… and 3 more texts") == (len(rows), rows[-1])
    assert rows[0].endswith("at ?")
    request = Request("server", "GET", "/a", "/a", 200, "ok", 0.0, {}, None, "request-1", 1, calls=calls)
    assert one(request, "cache").splitlines() == ["GET /a 200, ok, 0.0 ms", "  ledger: "]
