"""`firstcause run`: the command stays what it was, and every Python process in it is watched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import firstcause
from firstcause._run import environment, service_of
from tests.sdk.processes.served import HERE, ROOT
from tests.sdk.processes.sink import sink

APPS = HERE / "apps"


def _run(*command: str, cwd: Path = APPS, **environ: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [environ.pop("PYTHONPATH", ""), str(ROOT / "sdk/src")]))
    return subprocess.run(
        [sys.executable, "-m", "firstcause", "run", *command],
        cwd=cwd, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": paths, "FIRSTCAUSE_METRICS_PORT": "off", **environ},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("uvicorn shop:app --workers 4", "shop"),
        ("uvicorn app:app", "folder"),
        ("uvicorn --port 8000 shop.orders.main:app", "orders"),
        ("gunicorn -b 127.0.0.1:8000 shop.orders.wsgi:application", "orders"),
        ("gunicorn shop:create_app()", "folder"),
        ("python manage.py runserver", "folder"),
        ("python worker.py --loud", "worker"),
        ("python -m mail.worker", "worker"),
        ("python -m uvicorn shop:app", "shop"),
        ("celery -A mail worker", "mail"),
        ("flask --app store run", "store"),
        ("true", "folder"),
    ],
)
def test_the_name_of_a_service_is_told_from_its_command(command: str, name: str) -> None:
    """Application, module or script; the folder where those say nothing."""
    assert name == service_of(command.split(), "folder")


def test_a_given_name_wins() -> None:
    """`--service`, then `OTEL_SERVICE_NAME`, then `service.name` of the resource, then the command."""
    command = ["uvicorn", "shop:app"]
    assert "a" == environment({"OTEL_SERVICE_NAME": "b"}, command, "a")["OTEL_SERVICE_NAME"]
    assert "b" == environment({"OTEL_SERVICE_NAME": "b"}, command)["OTEL_SERVICE_NAME"]
    assert "OTEL_SERVICE_NAME" not in environment({"OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, command)
    assert "shop" == environment({}, command)["OTEL_SERVICE_NAME"]


def test_running_within_running_adds_nothing() -> None:
    """The folder is in `PYTHONPATH` once, before what was there."""
    once = environment({"PYTHONPATH": "/x"}, ["true"])
    assert once == environment(once, ["true"])
    assert "/x" == once["PYTHONPATH"].split(os.pathsep)[-1]


def test_a_command_that_is_no_python_runs_as_ever() -> None:
    """Its arguments, output and exit status are its own."""
    done = _run("--", "sh", "-c", "echo $0 $1; exit 3", "a", "b c")
    assert (3, "a b c\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("command", "environ", "status", "said"),
    [
        ((), {}, 2, "which command?"),
        (("no-such-program",), {}, 127, "'no-such-program' is not found"),
        (("true",), {"FIRSTCAUSE_MESH_KEY": "short"}, 2, "mesh_key='***' cannot work: use at least 16 characters"),
        (("true",), {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, 2, "protocol='http/json' cannot work"),
    ],
)
def test_what_cannot_run_says_why(command: tuple[str, ...], environ: dict[str, str], status: int, said: str) -> None:
    """One line on standard error and the exit status a shell would give."""
    done = _run(*command, **environ)
    assert (status, "") == (done.returncode, done.stdout)
    assert said in done.stderr


def test_the_sites_own_customization_still_runs(tmp_path: Path) -> None:
    """The sitecustomize that ours hides is imported, under its name, and ours leaves no entry on the path."""
    # Its first word is from the interpreter of `firstcause run` itself, the second from the program's.
    (tmp_path / "sitecustomize.py").write_text("print('theirs', __name__)\n")
    code = "import sys, sitecustomize; print(sitecustomize.__file__, [p for p in sys.path if 'bootstrap' in p])"
    done = _run(sys.executable, "-c", code, PYTHONPATH=str(tmp_path))
    assert "theirs sitecustomize\n" * 2 + f"{tmp_path}/sitecustomize.py []\n" == done.stdout, done.stderr


def test_an_interpreter_without_us_is_left_alone(tmp_path: Path) -> None:
    """Where the package cannot be imported, nothing is said and nothing is different."""
    folder = Path(firstcause.__file__).parent / "bootstrap"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); import sitecustomize; print('ran')"],
        capture_output=True, text=True, cwd=tmp_path, env={},
    )  # fmt: skip
    assert ("ran\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_a_process_that_uses_nothing_is_not_configured() -> None:
    """Supervisors and helpers have no recorder, no thread and no line of ours."""
    code = "import threading; from firstcause import _setup; print(_setup.recorder(), threading.active_count())"
    done = _run(sys.executable, "-c", code)
    assert ("None 1\n", "") == (done.stdout, done.stderr)


def test_a_script_is_configured_when_it_imports_a_client() -> None:
    """A job that serves nothing has its calls recorded, and flushed at its end."""
    code = "import httpx; from opentelemetry import trace; trace.get_tracer('job').start_span('work').end()"
    with sink() as collector:
        done = _run(sys.executable, "-c", code, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="job")
        assert (0, "") == (done.returncode, done.stderr)
        assert [("work", "job")] == [(span.name, span.resource["service.name"]) for span in collector.spans]


def test_an_application_that_cannot_be_watched_runs_unwatched() -> None:
    """A setting broken between start and import is said once on standard error, and the application goes on."""
    code = "import os; os.environ['FIRSTCAUSE_USER_KEY'] = 'x'; import httpx, requests; print('ran')"
    done = _run(sys.executable, "-c", code)
    assert (0, "ran\n") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("this process is not watched")
