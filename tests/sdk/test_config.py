"""Settings: argument before environment before default, and every problem at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firstcause._config import Config, ConfigError

KEY = "0123456789abcdef"


def _problems(environ: dict[str, str], **arguments: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ, **arguments)
    return caught.value.problems


def test_argument_before_environment_before_default() -> None:
    """An argument wins over a variable, which wins over the default."""
    environ = {"OTEL_SERVICE_NAME": "env", "OTEL_BSP_SCHEDULE_DELAY": "250"}
    made = Config.from_env(environ, service="argument")
    assert ("argument", 0.25, 512) == (made.service, made.interval_s, made.batch)


def test_service_name_wins_over_resource_attributes() -> None:
    """`OTEL_SERVICE_NAME` wins over `service.name` of the resource; the rest of it is kept."""
    attributes = "service.name=b,service.version=1.2,team=a%20b,deployment.environment.name=prod"
    made = Config.from_env({"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": attributes})
    assert ("a", "1.2", "prod", {"team": "a b"}) == (made.service, made.version, made.environment, made.resource)


def test_objectives_by_method_and_route_then_route_then_default() -> None:
    """The most specific objective counts; without any it is one second."""
    made = Config.from_env({"FIRSTCAUSE_OBJECTIVES": "default=2s,/a=500ms,GET /a=0.1"}, service="s")
    found = [made.objective_ns(key, route) for key, route in (("GET /a", "/a"), ("PUT /a", "/a"), ("GET /b", "/b"))]
    assert [100_000_000, 500_000_000, 2_000_000_000] == found
    assert 1_000_000_000 == Config.from_env({}, service="s").objective_ns("GET /", "/")


def test_all_problems_come_at_once_with_key_value_and_fix() -> None:
    """One error names every key, its value and what to do."""
    problems = _problems({"OTEL_BSP_MAX_QUEUE_SIZE": "many", "OTEL_TRACES_EXPORTER": "nowhere"}, timeout_s=-1.0)
    assert 4 == len(problems)
    for part in ("OTEL_BSP_MAX_QUEUE_SIZE='many'", "span_exporters=('nowhere',)", "timeout_s=-1.0", "service=''"):
        assert any(part in problem and ":" in problem for problem in problems)


def test_secrets_stay_out_of_errors_and_repr() -> None:
    """Neither a problem nor the repr of the settings shows a secret."""
    assert "shortkey" not in "".join(_problems({"FIRSTCAUSE_MESH_KEY": "shortkey"}, service="s"))
    environ = {"FIRSTCAUSE_MESH_KEY": KEY, "FIRSTCAUSE_USER_KEY": KEY, "OTEL_EXPORTER_OTLP_HEADERS": f"k={KEY}"}
    assert KEY not in repr(Config.from_env(environ, service="s"))


def test_misspelt_settings_are_named() -> None:
    """An unknown variable of ours, or argument, is a problem with the nearest known name."""
    problems = _problems({"FIRSTCAUSE_MESH_KYE": KEY}, service="s", enviroment="x")
    assert any("FIRSTCAUSE_MESH_KEY" in problem for problem in problems)
    assert any("environment" in problem for problem in problems)


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after it was checked."""
    made = Config.from_env({}, service="s")
    with pytest.raises(AttributeError):
        made.service = "t"  # type: ignore[misc]


def test_settings_load_no_sdk() -> None:
    """Reading settings imports no OpenTelemetry SDK."""
    code = "import sys, firstcause._config as c; c.Config.from_env({}, service='s'); print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert "False" == done.stdout.strip()


def test_a_second_configure_names_what_came_too_late() -> None:
    """What is as before is no news, in whatever sequence it was given."""
    code = """
import firstcause
first = firstcause.configure("shop", mesh_hosts=["orders"], log_stream="none")
assert [] == [w for w in firstcause.configure("shop", mesh_hosts=["orders"]).warnings if "too late" in w]
print([w for w in firstcause.configure("shop", mesh_hosts=["orders", "mail"]).warnings if "too late" in w])
"""
    environ = {"PYTHONPATH": ":".join(sys.path), "FIRSTCAUSE_METRICS_PORT": "0", "OTEL_SDK_DISABLED": "true"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert ("['configured before, these settings came too late: mesh_hosts']\n", "") == (done.stdout, done.stderr)
