"""Tiny services, each with exactly one defect, or with none."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A module's source, and the ids of the checks that have to find something in it."""

    source: str
    found: frozenset[str] = frozenset()
    environ: dict[str, str] = field(default_factory=dict)
    path: str = "/"
    command: tuple[str, ...] = ()
    """Words after the options, such as the command that starts the service."""


FASTAPI = """
from fastapi import FastAPI
import firstcause
app = FastAPI()
@app.get("/")
def root(): return 1
"""
CONFIGURED = FASTAPI + 'setup = firstcause.configure("shop", app=app)\n'


def case(source: str, *found: str, path: str = "/", command: tuple[str, ...] = (), **environ: str) -> Case:
    """A service on FastAPI that is configured, and `source` after it."""
    return Case(CONFIGURED + source, frozenset(found), environ, path, command)


CASES = {
    "healthy": case(""),
    "healthy with a database": case(
        "from sqlalchemy import create_engine, text\n"
        "engine = create_engine('sqlite://')\n"
        "@app.get('/q')\n"
        "def query():\n"
        "    with engine.connect() as c: return c.execute(text('select 7')).scalar()\n",
        path="/q",
    ),
    "healthy with an async database": case(
        "from sqlalchemy.ext.asyncio import create_async_engine\nengine = create_async_engine('sqlite+aiosqlite://')\n"
    ),
    "healthy Flask": Case(
        "from flask import Flask\nimport firstcause\napp = Flask('shop')\n"
        "@app.get('/')\ndef root(): return 'ok'\nfirstcause.configure('shop', app=app)\n"
    ),
    "healthy Django": Case(
        "from django.conf import settings\nfrom django.http import HttpResponse\nfrom django.urls import path\n"
        "settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'], FIRSTCAUSE={'service': 'shop'},\n"
        "    INSTALLED_APPS=['firstcause.servers.django.App'])\n"
        "from django.core.asgi import get_asgi_application\n"
        "urlpatterns = [path('', lambda request: HttpResponse('ok'))]\napp = get_asgi_application()\n"
    ),
    "healthy Starlette": Case(
        "from starlette.applications import Starlette\nimport firstcause\napp = Starlette()\n"
        "firstcause.configure('shop', app=app)\n"
    ),
    "healthy by opentelemetry": Case(
        FASTAPI + "firstcause.configure('shop', app=app, engine='opentelemetry')\n"
    ),
    "healthy by run": Case(FASTAPI, command=("firstcause", "run", "uvicorn", "healthy_by_run:app")),
    "never configured": Case(FASTAPI, frozenset({"configured"}), {"OTEL_SERVICE_NAME": "shop"}),
    "another application": Case(
        FASTAPI + "firstcause.configure('shop')\n",
        frozenset({"attached"}),
    ),
    "add_middleware": Case(
        FASTAPI + "from firstcause import _setup\nfrom firstcause.servers.asgi import Middleware\n"
        "firstcause.configure('shop')\napp.add_middleware(Middleware, recorder=_setup.recorder)\n"
        "app._telemetry.update(tracing=False, metrics=False, logs=False)\n",
        frozenset({"outermost"}),
    ),
    "in a lifespan": Case(
        "from contextlib import asynccontextmanager\nfrom fastapi import FastAPI\nimport firstcause\n"
        "@asynccontextmanager\nasync def life(app):\n    firstcause.configure('shop', app=app)\n    yield\n"
        "app = FastAPI(lifespan=life)\n@app.get('/')\ndef root(): return 1\n",
        frozenset({"in-time"}),
    ),
    "after the first request": Case(
        FASTAPI + "@app.middleware('http')\nasync def late(request, follow):\n"
        "    firstcause.configure('shop', app=app)\n    return await follow(request)\n",
        frozenset({"attached", "in-time", "server-span"}),
    ),
    "contrib inside": case(
        "from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware\n"
        "app.add_middleware(OpenTelemetryMiddleware)\n",
        "contrib-inside", OTEL_SEMCONV_STABILITY_OPT_IN="http",
    ),
    "old names": case(
        "from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor\nimport sqlite3\n"
        "SQLite3Instrumentor().instrument()\n"
        "@app.get('/q')\ndef query(): return sqlite3.connect(':memory:').cursor().execute('select 1').fetchone()\n",
        "stable-names", path="/q",
    ),
    "native outside": Case(
        "from fastapi import FastAPI\nimport firstcause\ninner = FastAPI()\n@inner.get('/')\ndef root(): return 1\n"
        "app = FastAPI()\napp.mount('/sub', inner)\nfirstcause.configure('shop', app=inner)\n",
        frozenset({"server-span"}), path="/sub/",
    ),
    "double export": Case(
        "from fastapi import FastAPI\nimport firstcause\ninner = FastAPI()\n@inner.get('/')\ndef root(): return 1\n"
        "app = FastAPI()\napp.mount('/sub', inner)\nfirstcause.configure('shop', app=inner)\n",
        frozenset({"server-span", "exported-once", "flush"}), path="/sub/",
        environ={"FASTAPI_OTEL_AUTO_CONFIGURE": "true"},
    ),
    "second provider": case(
        "from opentelemetry.sdk.trace import TracerProvider\nother = TracerProvider()\n", "providers"
    ),
    "foreign provider": Case(
        "from opentelemetry import trace\n"
        "class Other(trace.NoOpTracerProvider): pass\n"
        "trace.set_tracer_provider(Other())\n" + CONFIGURED,
        frozenset({"providers", "warnings"}),
    ),
    "unbounded flush": case(
        "from opentelemetry import trace\nfrom opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))\n",
        "flush",
    ),
    "logging disabled": case("import logging\nlogging.disable()\n", "stdlib-logging"),
    "lines twice": case(
        "from firstcause.logs import setup\nonce = setup._output.sink\n"
        "setup._output.sink = lambda record: (once(record), once(record))\n",
        "stdlib-logging",
    ),
    "handler feeds itself": case(
        "import logging\nclass Loop(logging.Handler):\n    def emit(self, record):\n"
        "        if record.name != 'urllib3': logging.getLogger('urllib3').info('connecting')\n"
        "logging.getLogger().addHandler(Loop())\n",
        "log-loop",
    ),
    "milliseconds": case(
        "from prometheus_client import Histogram\n"
        "h = Histogram('orders_seconds', 'x', buckets=(5, 50, 500, 5000)).observe(7)\n",
        "buckets",
    ),
    "metrics nowhere": case("", "metric", OTEL_METRICS_EXPORTER="none"),
    "metrics of yours": case(
        "from prometheus_client import Counter\nc = Counter('orders', 'x')\n",
        "shared-metrics", command=("uvicorn", "x:app", "--workers", "4"), FIRSTCAUSE_METRICS_PORT="0",
    ),
    "engine nobody sees": case(
        "from sqlalchemy import create_engine\nengine = create_engine('sqlite://')\n"
        "from firstcause.clients import sqlalchemy as ours\nours.uninstrument()\n",
        "queries",
    ),
    "database away": case(
        "from sqlalchemy import create_engine\nengine = create_engine('postgresql+psycopg://127.0.0.1:1/shop')\n",
        "databases",
    ),
    "imported before contrib": case(
        "import functools, sqlalchemy.ext.asyncio as library\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
        "# as contrib's instrument() does, which is not there for this version of SQLAlchemy\n"
        "library.create_async_engine = functools.wraps(create_async_engine)(lambda *a, **k: create_async_engine(*a, **k))\n",
        "async-engines",
    ),
    "contrib for another version": case(
        "import opentelemetry.instrumentation.instrumentor\nfrom opentelemetry.instrumentation import fastapi\n"
        "fastapi._instruments = ('fastapi < 0.1',)\n",
        "contrib-versions",
    ),
    "healthy gevent": Case(
        "from gevent import monkey\nmonkey.patch_all()\nfrom flask import Flask\nimport firstcause\n"
        "app = Flask('shop')\n@app.get('/')\ndef root(): return 'ok'\nfirstcause.configure('shop', app=app)\n"
    ),
    "gevent too late": case("from gevent import monkey\nmonkey.patch_all()\n", "gevent"),
    "a lifespan that fails": Case(
        "from contextlib import asynccontextmanager\nfrom fastapi import FastAPI\nimport firstcause\n"
        "@asynccontextmanager\nasync def life(app):\n    raise RuntimeError('no database')\n    yield\n"
        "app = FastAPI(lifespan=life)\nfirstcause.configure('shop', app=app)\n",
        frozenset({"answered"}),
    ),
    "a handler that raises": case(
        "@app.get('/bad')\ndef bad(): raise LookupError('x')\n", "answered", path="/bad"
    ),
    "no application": Case("import nothing\n", frozenset({"loaded"}), {"OTEL_SERVICE_NAME": "shop"}),
    "switched off": case("", "disabled", "+", OTEL_SDK_DISABLED="true"),
    "settings": case("", "settings", "loaded", OTEL_BSP_MAX_QUEUE_SIZE="many"),
}  # fmt: skip
"""Name to case; `+` among the ids means that other checks may find something as well."""
