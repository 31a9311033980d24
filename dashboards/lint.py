"""Our rules for dashboards, on the shipped JSON: one function per rule, each returns its problems."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from . import known, schema
from .board import COLUMNS
from .queries import GROWTH, asked, selected, variables

Model = Mapping[str, Any]
Rule = Callable[[Model], Iterator[str]]
COUNTERS = ("_total", "_count", "_sum", "_bucket")
LAST_VALUE = frozenset(("count", "group", "max", "min"))
"""What may look at a counter as it is: whether it is there."""


def problems(models: Mapping[str, Model]) -> list[str]:
    """Everything wrong with the dashboards (file name without ending: model), one line each."""
    found = [f"{name}: {text}" for name, model in models.items() for rule in RULES for text in _applied(rule, model)]
    return found + [f"{name}: {text}" for name, model in models.items() for text in _whole(name, model, models)]


def _applied(rule: Rule, model: Model) -> list[str]:
    try:
        return list(rule(model))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return [f"{rule.__name__}: cannot be read: {error!r}"]


def _whole(name: str, model: Model, models: Mapping[str, Model]) -> Iterator[str]:
    if model.get("uid") != name:
        yield f"its uid is {model.get('uid')!r}, not its file's name"
    yield from _links(model, models)


def as_documented(model: Model) -> Iterator[str]:
    """Every key is one that the model has, with a value of its type."""
    yield from schema.problems(model)


def says_what_it_shows(model: Model) -> Iterator[str]:
    """Title, a description that is a sentence, and each title once."""
    for panel in _panels(model):
        if len(panel["title"]) > 60 or not panel["title"][0].isupper():
            yield f"{panel['title']!r}: a title is at most 60 characters and begins with a capital"
        if not re.fullmatch(r"[A-Z0-9`].{10,}[.?]", panel["description"]):
            yield f"{panel['title']}: the description is no sentence: {panel['description']!r}"
    for title, count in Counter(panel["title"] for panel in model["panels"]).items():
        if count > 1:
            yield f"{title}: {count} panels have this title"


def has_units(model: Model) -> Iterator[str]:
    """Every number has a unit; in a table every column of numbers."""
    for panel in _panels(model):
        if panel["type"] == "logs" or panel["datasource"]["uid"] == "jaeger":
            continue
        config = panel["fieldConfig"]
        if panel["type"] != "table" and not config["defaults"].get("unit"):
            yield f"{panel['title']}: no unit"
        if panel["type"] == "table":
            named = {o["matcher"]["options"] for o in config["overrides"] if _has(o, "unit")}
            heads = _heads(panel)
            yield from (f"{panel['title']}: column {head!r} has no unit" for head in sorted(heads - named))


def _heads(panel: Model) -> set[str]:
    renamed = panel["transformations"][-1]["options"]["renameByName"]
    return {heading for name, heading in renamed.items() if name.startswith("Value")}


def _has(override: Model, key: str) -> bool:
    return any(one["id"] == key and one["value"] for one in override["properties"])


def stands_on_the_grid(model: Model) -> Iterator[str]:
    """Ids once, nothing over the edge, nothing over one another."""
    for number, count in Counter(panel["id"] for panel in model["panels"]).items():
        if count > 1:
            yield f"id {number} is there {count} times"
    places = [(panel["title"], panel["gridPos"]) for panel in model["panels"]]
    for title, at in places:
        if at["x"] + at["w"] > COLUMNS:
            yield f"{title}: sticks out of the grid"
    for (one, a), (other, b) in combinations(places, 2):
        if all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "w"), ("y", "h"))):
            yield f"{one} and {other} overlap"


def fills_its_lines(model: Model) -> Iterator[str]:
    """What begins at one height ends at one, and leaves no gap."""
    lines: dict[int, list[Model]] = {}
    for panel in _panels(model):
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for top, places in lines.items():
        if len({at["h"] for at in places}) > 1 or sum(at["w"] for at in places) != COLUMNS:
            yield f"the line at {top} has a gap"


def colours_in_order(model: Model) -> Iterator[str]:
    """Thresholds begin without a value and grow."""
    for panel in _panels(model):
        config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        properties = [one for override in config["overrides"] for one in override["properties"]]
        lists = [config["defaults"].get("thresholds")]
        lists += [one["value"] for one in properties if one["id"] == "thresholds"]
        for steps in (entry["steps"] for entry in lists if entry):
            values = [step["value"] for step in steps]
            if values[0] is not None or values[1:] != sorted(set(values[1:])):
                yield f"{panel['title']}: thresholds {values} do not begin without a value and grow"


def asks_well(model: Model) -> Iterator[str]:
    """PromQL parses, reads known names, windows fit the resolution, counters are looked at by their growth."""
    for query in asked(model):
        if query.source != "prometheus":
            continue
        try:
            found = selected(query.expr)
        except (ValueError, KeyError) as error:
            yield f"{query.place}: does not parse: {error}"
            continue
        for window in re.findall(r"\[([^\]]*)\]", re.sub(r'"[^"]*"', "", query.expr)):
            if window not in ("$__rate_interval", "$__range"):
                yield f"{query.place}: [{window}]: use [$__rate_interval], or [$__range] for the whole time range"
        offers = query.panel.startswith("variable ")  # whether there are such series is all it asks
        yield from (f"{query.place}: {text}" for one in found for text in _metric(one.name, one.inside) if not offers)


def _metric(name: str, inside: Sequence[str]) -> Iterator[str]:
    if name not in known.names():
        yield f"no known metric is called {name!r}"
    counter = name.endswith(COUNTERS)
    grown = bool(GROWTH & set(inside))
    if counter and not grown and not LAST_VALUE & set(inside[-1:]):
        yield f"{name} is a counter: look at its rate or increase"
    if not counter and grown and name not in _NATIVE:
        yield f"{name} is no counter: it has no rate"


_NATIVE = frozenset(name.removesuffix("_bucket") for name in known.ours() if name.endswith("_bucket"))


def offers_its_variables(model: Model) -> Iterator[str]:
    """Every variable is declared and used."""
    offered, marks = model["templating"]["list"], model["annotations"]["list"]
    declared = [variable["name"] for variable in offered]
    texts = [str(target) for panel in _panels(model) for target in panel["targets"]]
    texts += [*map(str, marks), *(variable["definition"] for variable in offered)]
    used = set().union(*map(variables, texts))
    yield from (f"${name} is used and not declared" for name in sorted(used - set(declared)))
    yield from (f"${name} is declared and not used" for name in sorted(set(declared) - used))


def names_its_lines(model: Model) -> Iterator[str]:
    """A legend names only labels that its query keeps."""
    for panel in _panels(model):
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
                if not re.search(rf"\b{label}\b", target["expr"]):
                    yield f"{panel['title']}: the legend names {label}, the query does not"


def _links(model: Model, models: Mapping[str, Model]) -> Iterator[str]:
    for where, url in _addresses(model):
        path = re.fullmatch(r"/d/([a-z-]+)(\?.*)?", url)
        if path is None or path[1] not in models:
            yield f"{where}: leads nowhere: {url}"
            continue
        offered = {variable["name"] for variable in models[path[1]]["templating"]["list"]}
        for name in re.findall(r"var-(\w+)=|\{(\w+):queryparam\}", path[2] or ""):
            if (wanted := name[0] or name[1]) not in offered:
                yield f"{where}: {path[1]} has no variable {wanted}"
        if path[2] and "${__url_time_range}" not in path[2]:
            yield f"{where}: loses the time range: {url}"


def _addresses(model: Model) -> Iterator[tuple[str, str]]:
    for link in model["links"]:
        yield f"link {link['title']}", link["url"]
    for panel in _panels(model):
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            for one in override["properties"]:
                if one["id"] == "links":
                    yield from ((panel["title"], link["url"]) for link in one["value"])


def _panels(model: Model) -> list[Model]:
    return [panel for panel in model["panels"] if panel["type"] != "row"]


RULES: tuple[Rule, ...] = (
    as_documented, says_what_it_shows, has_units, stands_on_the_grid, fills_its_lines, colours_in_order, asks_well,
    offers_its_variables,
    names_its_lines,
)  # fmt: skip


def read(folder: Path) -> dict[str, Model]:
    """The shipped files: name without ending, and model."""
    import json

    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
