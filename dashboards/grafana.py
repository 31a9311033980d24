"""A running Grafana, through grafana-client: put dashboards there, compare, mark a deploy."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import requests
from grafana_client import GrafanaApi, TokenAuth
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError

URL = "http://127.0.0.1:3000"
FOLDER = "firstcause"
TIMEOUT_S = 15.0
ADDED = frozenset(("id", "version"))
"""Keys that Grafana adds to what it stores."""
NOT_FOUND = 404


class NotDoneError(RuntimeError):
    """Grafana could not be asked, or would not; says what to do."""


def commands(to: argparse._SubParsersAction[argparse.ArgumentParser], generated: Path) -> None:
    """Add `push`, `diff` and `mark-deploy`."""
    push = _command(to, "push", "put the generated dashboards into a running Grafana", _push)
    diff = _command(to, "diff", "say how those in a running Grafana differ; exit 1 when they do", _diff)
    for one in (push, diff):
        one.add_argument("uid", nargs="*", help="only these (default: all)")
        one.set_defaults(generated=generated)
    push.add_argument("--folder", default=FOLDER, help=f"uid of the folder they go to, made when missing ({FOLDER})")
    mark = _command(to, "mark-deploy", "mark a deploy on all dashboards", _mark)
    mark.add_argument("service")
    mark.add_argument("version")
    mark.add_argument("--at", type=float, default=None, help="when, in seconds since the epoch (now)")


def _command(
    to: argparse._SubParsersAction[argparse.ArgumentParser], name: str, says: str,
    run: Callable[[GrafanaApi, argparse.Namespace], int],
) -> argparse.ArgumentParser:  # fmt: skip
    one = to.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.")
    url = os.environ.get("GRAFANA_URL", URL)
    one.add_argument("--url", default=url, help=f"where Grafana is; else $GRAFANA_URL ({URL})")
    one.add_argument(
        "--token-file", type=Path, default=os.environ.get("GRAFANA_TOKEN_FILE"), metavar="FILE",
        help="token of a service account; else $GRAFANA_TOKEN_FILE, else $GRAFANA_TOKEN",
    )  # fmt: skip
    one.set_defaults(command=lambda options: _asking(run, options))
    return one


def _asking(run: Callable[[GrafanaApi, argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return run(connect(options.url, token(options.token_file)), options)
    except GrafanaUnauthorizedError as error:
        raise NotDoneError(f"Grafana at {options.url} refuses this token: it needs the role Editor") from error
    except GrafanaException as error:
        raise NotDoneError(f"Grafana at {options.url} said {error.status_code}: {error.message}") from error
    except (requests.RequestException, ValueError) as error:
        raise NotDoneError(f"no Grafana at {options.url}: {type(error).__name__}; set --url or GRAFANA_URL") from error


def token(file: Path | None) -> str:
    """The token from the file, else from the environment; raises `NotDoneError` when there is none."""
    if file is not None:
        try:
            return Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise NotDoneError(f"cannot read the token: {error}") from error
    if found := os.environ.get("GRAFANA_TOKEN", "").strip():
        return found
    raise NotDoneError("no token: give --token-file, or set GRAFANA_TOKEN_FILE or GRAFANA_TOKEN")


def connect(url: str, secret: str) -> GrafanaApi:
    """The client."""
    return GrafanaApi.from_url(url, credential=TokenAuth(secret), timeout=TIMEOUT_S)


def chosen(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The generated models that were asked for."""
    models = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(options.generated.glob("*.json"))}
    missing = sorted(set(options.uid) - set(models))
    if missing:
        raise NotDoneError(f"no dashboard {', '.join(missing)}; there are {', '.join(models)}")
    return {uid: model for uid, model in models.items() if not options.uid or uid in options.uid}


def _push(api: GrafanaApi, options: argparse.Namespace) -> int:
    models = chosen(options)
    if not _found(lambda: api.folder.get_folder(options.folder)):
        api.folder.create_folder(options.folder, uid=options.folder)
    for uid, model in models.items():
        payload = {"dashboard": model, "folderUid": options.folder, "overwrite": True,
                   "message": "python -m dashboards push"}
        print(f"{uid}: version {api.dashboard.update_dashboard(payload)['version']}")
    return 0


def _diff(api: GrafanaApi, options: argparse.Namespace) -> int:
    differs = False
    for uid, model in chosen(options).items():
        there = _found(lambda uid=uid: api.dashboard.get_dashboard(uid))  # type: ignore[misc]
        lines = changed(there["dashboard"], model) if there else ["is not there"]
        differs |= bool(lines)
        print(f"{uid}: {'the same' if not lines else ''}", *lines, sep="\n  " if lines else "")
    return int(differs)


def changed(there: Mapping[str, Any], here: Mapping[str, Any], most: int = 40) -> list[str]:
    """How the stored model differs from ours, as lines of a diff; without what Grafana adds."""
    old, new = _lines(there), _lines(here)
    return list(islice(difflib.unified_diff(old, new, "Grafana", "generated", lineterm="", n=1), most))


def _lines(model: Mapping[str, Any]) -> list[str]:
    kept = {key: value for key, value in model.items() if key not in ADDED}
    return json.dumps(kept, indent=1, sort_keys=True).splitlines()


def _mark(api: GrafanaApi, options: argparse.Namespace) -> int:
    at = time.time() if options.at is None else options.at
    text = f"Deployed {options.service} {options.version}"
    made = api.annotations.add_annotation(
        time_from=int(at * 1000), tags=["deploy", options.service, options.version], text=text
    )
    print(f"{text}: mark {made['id']}")
    return 0


def _found(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except GrafanaClientError as error:
        if error.status_code != NOT_FOUND:
            raise
        return None
