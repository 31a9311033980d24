"""A Django project in one module, served as WSGI (`application`) and as ASGI (`async_application`)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="not a secret here",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "firstcause.servers.django.App"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": (
            {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "postgres", "HOST": "127.0.0.1",
             "PORT": os.environ["PGPORT_"]}
            if "PGPORT_" in os.environ
            else {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SQLITE"]}
        )
    },
    FIRSTCAUSE={"service": "shop"},
    USE_TZ=True,
)  # fmt: skip

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402

application = get_wsgi_application()
async_application = get_asgi_application()

from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db import connection  # noqa: E402

import firstcause  # noqa: E402
from firstcause.diagnosis.unit import current_unit  # noqa: E402

log = logging.getLogger(__name__)


def orders(request: HttpRequest, pk: int) -> JsonResponse:
    """A query of the ORM, a raw one, a line, and a wait."""
    list(ContentType.objects.filter(model=f"m{pk}"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s + 0", [pk])
    with firstcause.spending("lock:inventory"):
        time.sleep(0.02)
    firstcause.identify(user="ann", session="s3cr3t")
    log.info("order %s read", pk)
    unit = current_unit()
    return JsonResponse({"pk": pk, "request": "" if unit is None else unit.request_id})


async def awaited(request: HttpRequest) -> JsonResponse:
    """An async view that asks the ORM, which does so in a thread."""
    await asyncio.sleep(0.01)
    found = [item.pk async for item in ContentType.objects.all()]
    return JsonResponse({"found": len(found)})


def broken(request: HttpRequest) -> HttpResponse:
    """Raises."""
    raise LookupError("no such order, password=hunter2")


def missing(request: HttpRequest) -> HttpResponse:
    """Not found, said by the view."""
    raise Http404("nothing here")


def database_gone(request: HttpRequest) -> HttpResponse:
    """A statement that fails."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table WHERE name = 'hunter2'")
    return HttpResponse("never")


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    """Three chunks with waits between them."""

    def chunks() -> Iterator[bytes]:
        for n in range(3):
            time.sleep(0.03)
            yield b"%d" % n

    async def awaited_chunks() -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0.03)
            yield b"%d" % n

    return StreamingHttpResponse(awaited_chunks() if "async" in request.GET else chunks())


def sent_file(request: HttpRequest) -> FileResponse:
    """This file."""
    return FileResponse(Path(__file__).open("rb"))


urlpatterns: list[Any] = [
    path("shop/", include([path("orders/<int:pk>/", orders)])),
    re_path(r"^old/(?P<pk>[0-9]+)/(\w+)?$", lambda request, pk: HttpResponse(pk)),
    path("awaited/", awaited), path("broken/", broken), path("missing/", missing), path("gone/", database_gone),
    path("streamed/", streamed), path("file/", sent_file),
]  # fmt: skip

from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
