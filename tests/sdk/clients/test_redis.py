"""redis-py against a real Redis, sync and asyncio."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from demo_app.parts import free_port
from firstcause.clients.redis import NAMES
from firstcause.diagnosis.ledger import FRAME, close_frame, open_frame, stamped
from tests import parts
from tests.sdk.clients.workbench import Workbench


def test_a_command_is_a_span_and_time_of_the_cache(bench: Workbench, redis_url: str) -> None:
    """A command is one CLIENT span with operation and key prefix; neither key nor value is kept."""
    with bench.unit() as unit, redis.Redis.from_url(redis_url) as client:
        client.set("basket:7731", "hush")
        account = unit.ledger.accounts["cache:redis"]
    span = bench.named("SET")[0]
    assert unit.span.span_id == span.parent_span_id
    host, _, port = redis_url.partition("://")[2].partition("/")[0].partition(":")
    assert {
        "db.system.name": "redis", "db.operation.name": "SET", "db.namespace": "0",
        "server.address": host, "server.port": int(port),
    } == span.attributes  # fmt: skip
    assert account.longest is not None
    assert "SET basket:*" == account.longest.detail


async def test_async_commands_and_pipelines_book_alike(bench: Workbench, redis_url: str) -> None:
    """The asyncio client's commands are single spans, a pipeline is one."""
    with bench.unit() as unit:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.set("a:1", "x")
            async with client.pipeline() as pipe:
                pipe.get("a:1")
                pipe.get("a:2")
                await pipe.execute()
            assert 2 == unit.ledger.accounts["cache:redis"].count
    assert ["SET", "PIPELINE"] == [span.name for span in bench.spans if span.parent_span_id]


def test_a_pipeline_is_one_call(bench: Workbench, redis_url: str) -> None:
    """Collecting commands costs nothing, executing them is one span."""
    with bench.unit(), redis.Redis.from_url(redis_url) as client:
        assert [True, b"x"] == client.pipeline(transaction=False).set("a:1", "x").get("a:1").execute()
    assert ["PIPELINE"] == [span.name for span in bench.spans if span.parent_span_id]


def test_a_cache_can_be_given_a_name(bench: Workbench, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name for a place is what the time is booked under."""
    monkeypatch.setitem(NAMES, redis_url.partition("://")[2].partition("/")[0], "baskets")
    with bench.unit() as unit, redis.Redis.from_url(redis_url) as client:
        client.ping()
        assert "cache:baskets" in unit.ledger.accounts


def test_blocking_is_booked_in_a_unit_and_free_outside(bench: Workbench, redis_url: str) -> None:
    """A queue's consumer blocks for nothing outside units; in a request the wait is the cache's."""
    with redis.Redis.from_url(redis_url) as client:
        client.blpop(["nothing"], timeout=0.05)
        assert [] == bench.spans
        with bench.unit():
            client.blpop(["nothing"], timeout=0.05)
    assert bench.shares["cache:redis"] > 40


def test_inside_a_publish_redis_is_the_queue(bench: Workbench, redis_url: str) -> None:
    """Commands that a queue's producer sends stay in the queue's frame."""
    with bench.unit() as unit, redis.Redis.from_url(redis_url) as client:
        frame = open_frame("queue:mail")
        token = FRAME.set(frame)
        client.lpush("mail", "x")
        FRAME.reset(token)
        close_frame(frame)
        assert {"queue:mail"} == set(unit.ledger.accounts)


def test_a_refused_command_is_stamped(bench: Workbench, redis_url: str) -> None:
    """The server's complaint passes through and leads to its failed frame."""
    with bench.unit(), redis.Redis.from_url(redis_url) as client:
        client.set("text", "x")
        with pytest.raises(redis.ResponseError) as raised:
            client.lpush("text", "y")
    frame = stamped(raised.value)
    assert frame is not None
    assert frame.failed
    assert 2 == bench.named("LPUSH")[0].status_code


@pytest.fixture(name="cluster_url", scope="module")
def _cluster_url() -> Iterator[str]:
    """A cluster of one real node; its bus listens 10,000 ports above."""
    with parts.redis(free_port(), cluster_enabled="yes") as part:
        with redis.Redis.from_url(part.url) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while "cluster_state:ok" not in str(node.execute_command("CLUSTER", "INFO")):
                threading.Event().wait(0.01)
        yield part.url


def test_a_clusters_command_is_one_call(bench: Workbench, cluster_url: str) -> None:
    """A command that a cluster's client sends to a node is one span and one frame, and so is its pipeline."""
    client = redis.RedisCluster.from_url(cluster_url)
    with bench.unit() as unit:
        client.set("basket:1", "x")
        assert [b"x"] == client.pipeline().get("basket:1").execute()
        assert 2 == unit.ledger.accounts["cache:redis"].count
    client.close()
    assert ["SET", "PIPELINE"] == [span.name for span in bench.spans if span.parent_span_id]
    assert int(cluster_url.rpartition(":")[2].partition("/")[0]) == bench.named("SET")[0].attributes["server.port"]


async def test_an_async_clusters_command_is_one_call(bench: Workbench, cluster_url: str) -> None:
    """The same for asyncio."""
    async with redis.asyncio.RedisCluster.from_url(cluster_url) as client:
        with bench.unit() as unit:
            await client.set("basket:1", "x")
            assert [b"x"] == await client.pipeline().get("basket:1").execute()
            assert 2 == unit.ledger.accounts["cache:redis"].count
    assert ["SET", "PIPELINE"] == [span.name for span in bench.spans if span.parent_span_id]
