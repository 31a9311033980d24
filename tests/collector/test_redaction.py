"""The agent takes out what it should, wherever it stands, and leaves the rest as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToJson

from .planting import PLACES, logs, metrics, spans
from .running import CONFIG, Sink, collector
from .specimens import HARMLESS, KEYS, TEXTS, planted, secret

MADE = {"traces": spans, "logs": logs, "metrics": metrics}


def sent_through(folder: Path, config: Path) -> dict[str, str]:
    """Everything planted in every place, as the next hop gets it: text by signal."""
    sink = Sink()
    try:
        with collector(folder, config, GATEWAY_A=sink.grpc, GATEWAY_B=sink.grpc) as agent:
            for signal, make in MADE.items():
                agent.post(signal, make(TEXTS, KEYS, HARMLESS))
                sink.await_(signal, lambda found: any("planted" in str(one) for one in found))
        return {
            signal: "\n".join(MessageToJson(one, ensure_ascii=False) for one in found if "planted" in str(one))
            for signal, found in sink.received.items()
        }
    finally:
        sink.close()


@pytest.fixture(name="out", scope="module")
def _out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    yield sent_through(tmp_path_factory.mktemp("agent"), CONFIG / "agent.yaml")


@pytest.mark.e2e
@pytest.mark.parametrize("name", [*TEXTS, *KEYS])
def test_a_secret_is_taken_out_everywhere(out: dict[str, str], name: str) -> None:
    """In attributes, lists, names, status texts, events, bodies, resources and labels."""
    what = secret({**TEXTS, **KEYS}[name])
    assert [] == [signal for signal, text in out.items() if what in text or json.dumps(what)[1:-1] in text]


@pytest.mark.e2e
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_secret_stays(out: dict[str, str], name: str) -> None:
    """Addresses, routes, statements, browsers, fractions and times come out as they went in."""
    said = json.dumps(HARMLESS[name], ensure_ascii=False)
    assert ["traces", "logs", "metrics"] == [signal for signal, text in out.items() if said in text]


@pytest.mark.e2e
def test_names_that_were_lent_are_given_back(out: dict[str, str]) -> None:
    """Span and event names, the status and the trace state are where they were, and nothing of the way there is left."""
    assert all(f'"{place} planted"' in out["traces"] for place in PLACES)
    assert '"vendor=planted"' in out["traces"]
    assert re.search(r'"_(?:name|status|state)"', out["traces"]) is None


@pytest.mark.e2e
@pytest.mark.parametrize(("rule", "kept"), [("blocked_values", KEYS), ("blocked_key_patterns", TEXTS)])
def test_without_its_rules_it_would_leak(tmp_path: Path, rule: str, kept: dict[str, str]) -> None:
    """The specimens are ones that only the rules stop: without them each is seen, and the other rules still work."""
    config = yaml.safe_load((CONFIG / "agent.yaml").read_text())
    del config["processors"]["redaction"][rule]
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(config))
    out = sent_through(tmp_path, tmp_path / "agent.yaml")["traces"]
    leaked = TEXTS if rule == "blocked_values" else KEYS
    assert [] == [
        name for name, text in leaked.items() if json.dumps(secret(text), ensure_ascii=False)[1:-1] not in out
    ]
    assert [] == [name for name, text in kept.items() if secret(text) in out]


@pytest.mark.e2e
def test_it_fails_closed(tmp_path: Path) -> None:
    """Without `allow_all_keys` only what is never looked at survives: forgetting the list loses data, not secrets."""
    config = yaml.safe_load((CONFIG / "agent.yaml").read_text())
    del config["processors"]["redaction"]["allow_all_keys"]
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(config))
    sink = Sink()
    try:
        with collector(tmp_path, tmp_path / "agent.yaml", GATEWAY_A=sink.grpc, GATEWAY_B=sink.grpc) as agent:
            agent.post("traces", spans(TEXTS, KEYS, HARMLESS))
            (found, *_rest) = sink.await_("traces", bool)
    finally:
        sink.close()
    kept = {
        a.key
        for group in found.resource_spans
        for scope in group.scope_spans
        for s in scope.spans
        for a in s.attributes
    }
    assert {"session.id"} == kept


def rules(kind: str) -> list[str]:
    """Patterns of the shipped file, as Python reads them."""
    found: list[Any] = yaml.safe_load((CONFIG / "agent.yaml").read_text())["processors"]["redaction"][kind]
    return [pattern.replace(r"\z", r"\Z") for pattern in found]


@pytest.mark.parametrize(("kind", "specimens"), [("blocked_values", TEXTS), ("blocked_key_patterns", KEYS)])
def test_every_rule_has_a_specimen_that_needs_it(kind: str, specimens: dict[str, str]) -> None:
    """No rule could be taken away unnoticed: something is stopped by it alone."""
    asked = {name: planted(text) if kind == "blocked_values" else name for name, text in specimens.items()}
    needed = {
        hits[0] for text in asked.values() if len(hits := [rule for rule in rules(kind) if re.search(rule, text)]) == 1
    }
    assert [] == [rule for rule in rules(kind) if rule not in needed]
