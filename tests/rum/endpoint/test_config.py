"""Settings, whole or not at all."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from firstcause import ConfigError
from firstcause._config import Config as SdkConfig
from firstcause_rum import Config
from firstcause_rum._config import _PARSERS

ROOT = Path(__file__).parents[3]
NAMES = [one.name for one in fields(Config)]


def test_every_setting_has_its_variable() -> None:
    """And no variable is without a setting."""
    assert set(NAMES) == set(_PARSERS)


def test_the_environment_is_read() -> None:
    """Each kind of value as text."""
    found = Config.from_env({
        "FIRSTCAUSE_RUM_PATH": "/v", "FIRSTCAUSE_RUM_ORIGINS": "https://a.example, https://b.example:8443",
        "FIRSTCAUSE_RUM_TRUSTED_NETWORKS": "10.0.0.0/8,2001:db8::/32", "FIRSTCAUSE_RUM_SLOW": "LCP=4,INP=0.5s",
        "FIRSTCAUSE_RUM_ADDRESS_RATE": "0.5", "FIRSTCAUSE_RUM_VIEWS": "7", "FIRSTCAUSE_RUM_COUNT_TESTS": "true",
        "FIRSTCAUSE_RUM_REGIONS": "BR,DE", "FIRSTCAUSE_RUM_ROUTES": "", "OTEL_SERVICE_NAME": "shop",
    })  # fmt: skip
    assert ("/v", ("https://a.example", "https://b.example:8443"), 0.5, 7, True) == (
        found.path, found.origins, found.address_rate, found.views, found.count_tests,
    )  # fmt: skip
    assert ({"LCP": 4.0, "INP": 0.5}, ("BR", "DE"), ()) == (found.slow, found.regions, found.routes)


def test_an_argument_wins() -> None:
    """Over the environment, which wins over the default; None is no argument."""
    environ = {"FIRSTCAUSE_RUM_PATH": "/v"}
    assert ("/w", "/v") == (Config.from_env(environ, path="/w").path, Config.from_env(environ, path=None).path)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """Each with its key, its value and what to do."""
    with pytest.raises(ConfigError) as error:
        Config.from_env(
            {
                "FIRSTCAUSE_RUM_PATHS": "/x", "FIRSTCAUSE_RUM_VIEWS": "many", "FIRSTCAUSE_RUM_ORIGINS": "shop.example",
                "FIRSTCAUSE_RUM_SLOW": "LCP=2.7", "FIRSTCAUSE_RUM_MMDB": str(tmp_path / "none"), "FIRSTCAUSE_RUM_SETTLE_S": "-1",
                "FIRSTCAUSE_RUM_REGIONS": "brazil",
            },
            pth="/y", trusted_networks=("10.0.0.1/8",),
        )  # fmt: skip
    text = "\n".join(error.value.problems)
    for part in (
        "FIRSTCAUSE_RUM_PATHS is no setting: did you mean FIRSTCAUSE_RUM_PATH?", "FIRSTCAUSE_RUM_VIEWS='many' cannot be read",
        "pth= is no setting: did you mean path?", "origins=('shop.example',) cannot work", "slow={'LCP': 2.7} cannot work",
        "mmdb=", "settle_s=-1.0", "regions=('brazil',)", "trusted_networks=('10.0.0.1/8',)",
    ):  # fmt: skip
        assert part in text
    assert 9 == len(error.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "/a b"), ("path", ""), ("path", "beacon"), ("address_rate", 0), ("address_burst", 1.5), ("views", True),
        ("series", 99), ("origins", ("https://shop.example/",)), ("routes", ("x" * 129,)), ("slow", {"CLS": 0.1}),
        ("slow", 2.5), ("region_header", "a b"), ("script", "/nowhere.js"), ("read_s", "10"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(name: str, value: object) -> None:
    """Also when given in Python."""
    with pytest.raises(ConfigError, match=re.escape(f"{name}={value!r} cannot work")):
        Config(**{name: value})  # type: ignore[arg-type]


def test_the_sdk_leaves_our_variables_alone() -> None:
    """It refuses unknown ones of its own, which these are not."""
    assert "shop" == SdkConfig.from_env({"OTEL_SERVICE_NAME": "shop", "FIRSTCAUSE_RUM_PATH": "/v"}).service


def test_the_readme_has_every_setting() -> None:
    """With its variable and its default."""
    text = (ROOT / "rum" / "README.md").read_text()
    defaults = Config()
    missing = [name for name in NAMES if f"| `{name}` |" not in text]
    assert [] == missing
    for name in (
        "address_rate",
        "address_burst",
        "total_rate",
        "views",
        "series",
        "settle_s",
        "settle_late_s",
        "blame_s",
        "read_s",
    ):
        assert f"| `{name}` | {getattr(defaults, name):g} |" in text
