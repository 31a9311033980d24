"""The provisioning files against a typed list of the keys that Grafana documents; any other key is a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent / "provisioning"
SOURCE: Mapping[str, type] = {
    "name": str, "uid": str, "type": str, "access": str, "url": str, "isDefault": bool, "editable": bool,
    "basicAuth": bool, "basicAuthUser": str, "withCredentials": bool, "orgId": int, "version": int,
}  # fmt: skip
_QUERY: Mapping[str, type] = {"name": str, "query": str}
_SHIFT: Mapping[str, type] = {"datasourceUid": str, "spanStartTimeShift": str, "spanEndTimeShift": str}
_TAG: Mapping[str, type] = {"key": str, "value": str}


def _under(prefix: str, keys: Mapping[str, type]) -> dict[str, type]:
    return {f"{prefix}.{key}": kind for key, kind in keys.items()}


JSON_DATA: Mapping[str, Mapping[str, type]] = {
    "prometheus": {
        "httpMethod": str, "prometheusType": str, "prometheusVersion": str, "timeInterval": str, "queryTimeout": str,
        "manageAlerts": bool, "cacheLevel": str, "incrementalQuerying": bool, "customQueryParameters": str,
        **_under("exemplarTraceIdDestinations[]",
                 {"name": str, "datasourceUid": str, "url": str, "urlDisplayLabel": str}),
    },
    "jaeger": {
        "nodeGraph.enabled": bool, "traceIdTimeParams.enabled": bool, "spanBar.type": str, "spanBar.tag": str,
        **_under("tracesToLogsV2", {**_SHIFT, "customQuery": bool, "query": str, "filterByTraceID": bool,
                                    "filterBySpanID": bool}),
        **_under("tracesToLogsV2.tags[]", _TAG),
        **_under("tracesToMetrics", _SHIFT), **_under("tracesToMetrics.tags[]", _TAG),
        **_under("tracesToMetrics.queries[]", _QUERY),
    },
    "loki": {
        "maxLines": int, "timeout": int, "manageAlerts": bool,
        **_under("derivedFields[]", {"name": str, "matcherType": str, "matcherRegex": str, "datasourceUid": str,
                                     "url": str,
                                     "urlDisplayLabel": str, "targetBlank": bool}),
    },
    "alertmanager": {"implementation": str, "handleGrafanaManagedAlerts": bool},
}  # fmt: skip
"""Keys of `jsonData` by type of data source, as its page in Grafana's documentation lists them."""
PROVIDER: Mapping[str, type] = {
    "name": str, "orgId": int, "folder": str, "folderUid": str, "type": str, "disableDeletion": bool,
    "allowUiUpdates": bool, "updateIntervalSeconds": int, "options.path": str,
    "options.foldersFromFilesStructure": bool,
}  # fmt: skip
ONE_OF: Mapping[str, tuple[object, ...]] = {
    "access": ("proxy",), "httpMethod": ("GET", "POST"), "prometheusType": ("Prometheus", "Mimir", "Thanos", "Cortex"),
    "matcherType": ("label", "regex"), "implementation": ("prometheus", "mimir", "cortex"),
    "type": (*JSON_DATA, "file"),
}  # fmt: skip
NEEDED = ("name", "uid", "type", "access", "url")


def problems(folder: Path = FOLDER) -> list[str]:
    """Everything wrong with the two files, one line each."""
    sources, providers = _load(folder / "datasources"), _load(folder / "dashboards")
    found = list(_top(sources, "datasources")) + list(_top(providers, "providers"))
    for source in _entries(sources, "datasources"):
        found += [f"data source {source.get('name')}: {text}" for text in _source(source, _uids(sources))]
    for provider in _entries(providers, "providers"):
        found += [f"provider {provider.get('name')}: {text}" for text in _keys(provider, PROVIDER)]
    return found


def _load(folder: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yaml")):
        merged |= yaml.safe_load(path.read_text("utf-8")) or {}
    return merged


def _top(file: Mapping[str, Any], name: str) -> Iterator[str]:
    if file.get("apiVersion") != 1:
        yield f"{name}: apiVersion must be 1"
    if not _entries(file, name):
        yield f"{name}: there are none"
    known = {"apiVersion", "deleteDatasources", "prune", name}
    yield from (f"{name}: no documented key is called {key}" for key in sorted(set(file) - known))


def _entries(file: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return list(file.get(name) or [])


def _uids(file: Mapping[str, Any]) -> list[str]:
    return [str(source.get("uid")) for source in _entries(file, "datasources")]


def _source(source: Mapping[str, Any], uids: list[str]) -> Iterator[str]:
    outer = {key: value for key, value in source.items() if key != "jsonData"}
    yield from (f"{key} is missing" for key in NEEDED if key not in source)
    if uids.count(str(source.get("uid"))) > 1:
        yield "its uid is there twice"
    yield from _keys(outer, SOURCE)
    yield from _keys(source.get("jsonData", {}), JSON_DATA.get(str(source.get("type")), {}))
    for path, value in _leaves(source.get("jsonData", {})):
        if path.endswith("datasourceUid") and value not in uids:
            yield f"{path}: there is no data source {value!r}"
        if re.search(r"(?<!\$)\$(?!\$)", str(value)):
            yield f"{path}: write $$ for $, which Grafana takes for the environment's"


def _keys(thing: Mapping[str, Any], documented: Mapping[str, type]) -> Iterator[str]:
    for path, value in _leaves(thing):
        if path not in documented:
            yield f"no documented key is called {path}"
        elif type(value) is not documented[path]:
            yield f"{path} must be {documented[path].__name__}, not {value!r}"
        elif value not in ONE_OF.get(name := path.rpartition(".")[2], (value,)):
            yield f"{path} must be one of {', '.join(map(str, ONE_OF[name]))}, not {value!r}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    else:
        yield path, value
