"""A specification is read whole: every problem at once, with its line and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_alerts import SpecError, load, render
from firstcause_alerts.__main__ import main

from .conftest import SLOS
from .specs import AVAILABILITY, COUNT, LATENCY, TARGETS, slo

POLICY = """  alertPolicies:
    - spec:
        conditions:
          - spec: {severity: page, condition: {kind: burnrate, threshold: 5, lookbackWindow: 2h, alertAfter: 0m}}
        notificationTargets: [{targetRef: pager}]
"""
UNUSED = """
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: nobodys}
spec: {ratioMetrik: {}}
"""
SERVICE = """
---
apiVersion: openslo/v1
kind: Service
metadata: {name: shop, annotations: {firstcause.dev/runbooks: "{{ .Labels }}"}}
spec: {}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        render(load(text))
    return [str(problem) for problem in caught.value.problems]


def test_the_shops_objectives_are_read() -> None:
    """The committed file has journeys that page and internal objectives that do not."""
    spec = load(SLOS.read_text())
    assert {"journey", "internal"} == {slo.role for slo in spec.slos}
    assert all(spec.pages(slo) == (slo.role == "journey") for slo in spec.slos)


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    """Three mistakes in one document are three lines, each with a fix."""
    text = slo(objective="target: 1.5", labels="role: nobody").replace("Occurrences", "Timeslices") + TARGETS
    found = problems(text)
    lines = text.splitlines()
    assert 4 == len(found)
    for word, mark in (("Timeslices", "budgetingMethod"), ("1.5", "objectives"), ("owner", ""), ("role", "")):
        (one,) = [problem for problem in found if word in problem]
        _file, line, rest = one.split(":", 2)
        assert mark in lines[int(line) - 1]
        assert ": " in rest


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (slo().replace("kind: SLO", "kind: DataSource"), "'DataSource' is not supported"),
        (slo().replace("openslo/v1", "openslo/v2"), "apiVersion='openslo/v2' is not supported"),
        (slo().replace("isRolling: true", "calendar: {startTime: x}"), "calendar is not supported"),
        (slo().replace("owner: us", "owner: [us]"), "owner is a list"),
        (slo().replace("service: shop", "service: shop\n  colour: red"), "colour is no key"),
        (slo().replace("service: shop", "servce: shop"), "did you mean service?"),
        (slo(objective="target: .nan"), "target is '.nan'"),
        (slo(objective="target: 1.0e+999"), "target is inf"),
        (slo(objective="target: 0.999}, {target: 0.99"), "objectives has 2 items"),
        (slo().replace("30d", "30 days"), "duration='30 days' cannot be read"),
        (slo().replace('service_name="shop"}', "service_name=shop}"), "cannot be read"),
        (slo().replace('=~"5.."', '=~"5..("'), "no regular expression"),
        (slo(more="  alertPolicies: [{alertPolicyRef: none}]"), "there is no AlertPolicy none"),
        (slo() + slo(), "SLO shop is there twice"),
        (slo().replace("  name: shop", "  name: shop\n  name: mop"), "name stands here twice"),
        ("a: [1", "no YAML"),
        ("- 1\n- 2", "document is a list"),
        ("", "there is no SLO"),
        ("a: &a [*a, *a]", "unfolds to more than"),
        ("\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]), "unfolds to more"),
        ("x: " + "[" * 5000, "no YAML"),
        ("x: " + "y" * 10_000_000, "10.0 MB of YAML"),
        (slo(objective="target: 0.999, compositeWeight: 2"), "compositeWeight is not supported"),
        (slo(labels="owner: '{{ .Labels }}', role: journey"), "has the owner '{{ .Labels }}'"),
        (slo(service="'a b'"), "has the service 'a b'"),
        (slo(service="'{{x}}'"), "has the service '{{x}}'"),
        (slo(more=POLICY.replace("kind: burnrate", "kind: burnrate, op: lte")), "op='lte' is not supported"),
        (slo(more=POLICY.replace("targetRef: pager", "spec: {target: webhook}")), "spec is not supported (a target"),
        (slo(more=POLICY.replace("severity: page", "severity: page, colour: red")), "colour is no key"),
        (slo() + UNUSED, "ratioMetrik is no key of OpenSLO v1 here: did you mean ratioMetric?"),
        (slo() + SERVICE, "firstcause.dev/runbooks='{{ .Labels }}', which is no address"),
        (slo().replace('=~"5.."', '=~"(?!2)..."'), "which Prometheus does not know"),
        (slo(indicator=LATENCY, objective="op: gte, value: 0.5, target: 0.99"), "is a latency, compared by gte"),
        (slo(indicator=LATENCY.replace("histogram: classic", "as: pattern"), objective="op: lte, value: 0.5, target: 0.99"),
         "is a pattern, compared by lte"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_named(broken: str, said: str) -> None:
    """The thing, where it is, and a fix; never a traceback."""
    assert any(said in problem for problem in problems(broken + TARGETS if len(broken) < 1e6 else broken))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (slo(objective="target: 0.9"), "can never fire: 14.4 × 0.1 = 1.44"),
        (slo(period="2d"), "a scrape every 15 s leaves"),
        (slo().replace('=~"5.."', '=~".*"').replace("bad:", "good:"), "good events include answers of 5xx"),
        (slo().replace("bad:", "good:").replace('=~"5.."', '!~"4.."'), "good events include answers of 5xx"),
        (slo(indicator=LATENCY.replace("server_request", "client_request"), objective="op: lte, value: 0.3, target: 0.99"),
         "0.3 s is no bucket edge"),
        (slo(indicator=LATENCY, objective="op: lte, value: 0.6, target: 0.99")
         + slo("faster", LATENCY, "op: lte, value: 0.2, target: 0.95"), "SLO shop: 0.6 s is no bucket edge"),
        (slo().replace("bad:", "good:").replace('=~"5.."', '!~"500|502|504"'), "good events include answers of 5xx"),
        (slo().replace(COUNT, "nginx_requests").replace("http_response_status_code", "status").replace("bad:", "good:")
         .replace('=~"5.."', '!~"4.."'), 'add status!~"5.." to good'),
        (slo().replace('=~"5.."', '!~"4.."'), "bad events include answers of 200"),
        (slo().replace('service_name="shop"}', 'service_name="shop",http_route="/a,b"}'), "cannot be told to the SDK"),
        (slo(indicator=AVAILABILITY.replace('service_name="shop",', "")), "names no service"),
        (slo().replace("  labels: {owner", "  annotations: {firstcause.dev/maintenance: someday}\n  labels: {owner"), "maintenance"),
    ],
)  # fmt: skip
def test_what_can_be_read_and_cannot_work_is_refused(text: str, said: str) -> None:
    """Unreachable pairs, too slow scrapes, success that selects failure, edges, labels."""
    assert any(said in problem for problem in problems(text + TARGETS))


def test_nobody_to_notify_is_a_problem() -> None:
    """Without a target for pages, or without a heartbeat, nothing is generated."""
    without_pager = "---".join(part for part in TARGETS.split("---") if "name: pager" not in part)
    without_heart = "---".join(part for part in TARGETS.split("---") if "name: heart" not in part)
    assert any("nobody gets its pages" in problem for problem in problems(slo() + without_pager))
    assert any("nobody notices" in problem for problem in problems(slo() + without_heart))


@pytest.mark.parametrize(
    ("severity", "said"), [("heartbeat", "nobody notices"), ("ticket", "the tickets that are about no objective")]
)
def test_what_is_about_no_objective_needs_a_target_without_an_owner(severity: str, said: str) -> None:
    """The watchdog and tickets of the table have no owner, so that targets of one owner never get them."""
    owned = TARGETS.replace(f"severity: {severity}", f"severity: {severity}, owner: us")
    (found,) = problems(slo() + owned)
    assert said in found


def test_a_policy_replaces_the_four_pairs() -> None:
    """Its condition is a pair of windows; waiting before an alert is refused."""
    (found,) = load(slo(objective="target: 0.9", more=POLICY) + TARGETS).slos
    assert [("page", "2h/10m", "5.0")] == [(pair.tier, pair.name, str(pair.factor)) for pair in found.pairs]
    refused = problems(slo(more=POLICY.replace("0m", "5m")) + TARGETS)
    assert any("alertAfter" in problem and "short window" in problem for problem in refused)


def test_the_order_of_a_policys_conditions_means_nothing() -> None:
    """The quickest pair comes first, whose burn rate a page shows."""
    quick = "{severity: page, condition: {kind: burnrate, threshold: 5, lookbackWindow: 2h, alertAfter: 0m}}"
    slow = quick.replace("2h", "8h").replace("5,", "3,")
    documents = [slo(more=POLICY + POLICY.partition("\n")[2].replace(quick, slow)),
                 slo(more=POLICY.replace(quick, slow) + POLICY.partition("\n")[2])]  # fmt: skip
    given, turned = (render(load(document + TARGETS))["rules.yml"] for document in documents)
    assert "8h" in given
    assert given == turned


def test_a_missing_side_of_a_ratio_is_told_beside_other_problems() -> None:
    """And one that is there and cannot be read is told as that, and not as missing."""
    without = AVAILABILITY.partition("        total:")[0]
    found = problems(slo(indicator=without, objective="target: 1.5") + TARGETS)
    assert any("needs total" in problem for problem in found)
    unread = problems(slo().replace('=~"5.."', '=~"5..("') + TARGETS)
    assert not any("needs total" in problem for problem in unread)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No input raises anything but SpecError."""
    try:
        load(text)
    except SpecError as error:
        assert error.problems


def test_a_broken_file_ends_with_2_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names file and line; the folder of generated files is as before."""
    (tmp_path / "slos.yml").write_text(slo(objective="target: 2") + TARGETS)
    assert 2 == main(["compile", str(tmp_path / "slos.yml")])
    assert "slos.yml:24:" in capsys.readouterr().err
    assert ["slos.yml"] == [path.name for path in tmp_path.iterdir()]
    assert 2 == main(["check", str(tmp_path / "none.yml")])


def test_check_tells_everything_that_is_wrong_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read and what cannot work, of six objectives in one run: each with file, line and fix."""
    broken = {
        "unreadable": (slo("unreadable").replace("budgetingMethod", "budgetMethod"), "budgetMethod is no key"),
        "unreachable": (slo("unreachable", objective="target: 0.9"), "14.4 × 0.1 = 1.44 is no possible error ratio"),
        "success": (slo("success").replace("bad:", "good:").replace('=~"5.."', '!~"4.."'), 'add http_response_status_code!~"5.."'),
        "edge": (slo("edge", LATENCY.replace("_server_", "_client_"), "op: lte, value: 0.3, target: 0.99"), "use 0.25, 0.1, or histogram: native"),
        "scrape": (slo("scrape", period="5d"), "scrape every 25 s or oftener"),
        "labels": (slo("labels", AVAILABILITY.replace('service_name="shop",', "")), 'add service_name="shop"'),
    }  # fmt: skip
    file = tmp_path / "slos.yml"
    file.write_text("".join(text for text, _said in broken.values()) + TARGETS)
    lines = file.read_text().splitlines()
    assert 2 == main(["check", str(file), "--scrape", "30"])
    said = capsys.readouterr().err.splitlines()
    for name, (_text, fix) in broken.items():
        (problem, *_more) = [line for line in said if fix in line]
        path, number, _rest = problem.split(":", 2)
        assert str(file) == path
        assert f"  name: {name}" in "\n".join(lines[max(0, int(number) - 30) : int(number) + 10])


@pytest.mark.parametrize(
    "content",
    [
        b"x: " + b"y" * 10_000_000,
        b"a: &a [x]\n" + b"\n".join(b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)),
        b"\x00\xff\xfe",
        b"kind: [SLO]\nspec: 3\nmetadata: {name: {a: b}}",
        b"[" * 900_000,
        b"k: v\n" * 20_000,
    ],
    ids=["10 MB", "alias bomb", "binary", "wrong types", "nested", "one key again and again"],
)  # fmt: skip
def test_hostile_files_end_with_2_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """Each says file and line, in a message of a size that can be read."""
    (tmp_path / "slos.yml").write_bytes(content)
    for command in ("check", "compile", "explain", "test"):
        assert 2 == main([command, str(tmp_path / "slos.yml")])
        said = capsys.readouterr().err
        assert "slos.yml:" in said
        assert "Traceback" not in said
        assert len(said) < 100_000
    assert ["slos.yml"] == [path.name for path in tmp_path.iterdir()]


def test_no_title_starts_a_template() -> None:
    """Braces of the specification's own words do not survive, however many there are."""
    rules = render(load(slo().replace("  name: shop", '  name: shop\n  displayName: "{{{ $labels }}} {"') + TARGETS))
    assert "_ $labels _ _" in rules["rules.yml"]
    assert "{{{" not in rules["rules.yml"]


def test_a_bucket_and_its_count_are_a_latency() -> None:
    """OpenSLO's own way to say it: good is one bucket, total the count of the same requests."""
    selector = 'http_server_request_duration_seconds_bucket{service_name="shop",le="0.5"}'
    indicator = AVAILABILITY.replace("bad:", "good:").replace(
        f'{COUNT}{{service_name="shop",http_response_status_code=~"5.."}}', selector
    )
    (found,) = load(slo(indicator=indicator) + TARGETS).slos
    assert 0.5 == found.sli.within_s  # type: ignore[union-attr]
