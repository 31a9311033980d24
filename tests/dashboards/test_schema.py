"""The types that Grafana publishes read every shipped dashboard, and write it back without a loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import lint
from dashboards.__main__ import HERE

SHIPPED = lint.read(HERE)
plugins.register_default_plugins()


def lost(here: Any, there: Any, path: str = "") -> Iterator[str]:
    """Where something of `here` is not in `there`, or is something else."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key, value in here.items():
            yield from lost(value, there[key], f"{path}.{key}") if key in there else [f"{path}.{key}"]
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for one, other in zip(here, there, strict=True):
            yield from lost(one, other, f"{path}[]")
    elif here != there:
        yield path


def through_their_types(model: Any) -> Any:
    """Read into the published types, and written again."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(model))))


@pytest.mark.parametrize("uid", SHIPPED)
def test_nothing_is_lost(uid: str) -> None:
    """Every key we ship is one that Grafana's types know, at that place."""
    assert [] == list(lost(SHIPPED[uid], through_their_types(SHIPPED[uid])))


@pytest.mark.parametrize(
    ("spoil", "path"),
    [
        (lambda m: m.update(titel="x"), ".titel"),
        (lambda m: m["panels"][1].update(titel="x"), ".panels[].titel"),
        (lambda m: m["panels"][1]["options"].update(graphmode="area"), ".panels[].options.graphmode"),
        (lambda m: m["panels"][1]["targets"][0].update(expression="x"), ".panels[].targets[].expression"),
        (lambda m: m["panels"][1]["gridPos"].update(width=4), ".panels[].gridPos.width"),
        (lambda m: m["panels"][1]["fieldConfig"]["defaults"].update(units="s"), ".panels[].fieldConfig.defaults.units"),
        (lambda m: m["templating"]["list"][0].update(every=1), ".templating.list[].every"),
        (lambda m: m["annotations"]["list"][0].update(colour="red"), ".annotations.list[].colour"),
        (lambda m: m["links"][0].update(keeptime=True), ".links[].keeptime"),
    ],
)
def test_an_unknown_key_is_noticed(spoil: Callable[[Any], None], path: str) -> None:
    """A key that Grafana does not know is gone after the way through its types."""
    model = copy.deepcopy(SHIPPED["overview"])
    spoil(model)
    assert [path] == list(lost(model, through_their_types(model)))
