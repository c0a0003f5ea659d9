"""Scrape configuration, alert rules and dashboard: valid, and about metrics that exist. promtool is the judge."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics
from tests.manifests import (
    MONITORING,
    ROOT,
    Expression,
    dashboard,
    panel_expressions,
    prometheus_tool,
    prometheus_version,
    rule_expressions,
    rules,
    scrape_configs,
)

PROMETHEUS = MONITORING / "prometheus"
RULES_TEST = Path(__file__).with_name("rules_test.yml")
EXPRESSIONS = [*panel_expressions(), *rule_expressions()]
SUFFIXES = {"counter": ["_total"], "gauge": [""], "info": ["_info"], "histogram": ["_bucket", "_count", "_sum"]}

every_expression = pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda e: e.where)
every_rule = pytest.mark.parametrize("rule", list(rules()), ids=lambda r: r["alert"])


def promtool(*arguments: str | Path, inside: Path | None = None) -> None:
    run = [prometheus_tool("promtool"), *arguments]
    done = subprocess.run(run, cwd=inside, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def declarations() -> dict[str, MetricWrapperBase]:
    return {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def series_of(declared: MetricWrapperBase) -> list[str]:
    """Names of the series that /metrics shows of it."""
    return [family.name + suffix for family in declared.describe() for suffix in SUFFIXES[family.type]]


LABELS = {name: set(declared._labelnames) for declared in declarations().values() for name in series_of(declared)}


def named(promql: str) -> set[str]:
    return set(re.findall(r"\bvitrine_\w+", re.sub(r'"[^"]*"', "", promql)))


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_rules_are_tested_on_the_prometheus_that_is_deployed() -> None:
    deployed = prometheus_version()
    major, minor, patch = deployed.split(".")
    built = re.search(r"github.com/prometheus/prometheus v(\S+)", (ROOT / "scripts/prometheus/go.mod").read_text())
    assert built is not None
    assert built[1] == f"0.{major}{minor}.{patch}"  # as a Go module 3.13.3 is called 0.313.3
    said = subprocess.run([prometheus_tool("promtool"), "--version"], capture_output=True, text=True, timeout=60)
    assert f"version {deployed} " in said.stdout + said.stderr


def test_prometheus_accepts_the_scrape_configuration() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", PROMETHEUS / "rules.yml")


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    known = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    for group in known["groups"]:
        for rule in group["rules"]:
            # promtool compares all annotations to the letter: a runbook's text has no place in these tests.
            del rule["annotations"]["runbook"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(known))
    (tmp_path / RULES_TEST.name).write_text(RULES_TEST.read_text())
    promtool("test", "rules", RULES_TEST.name, inside=tmp_path)


@every_rule
def test_every_alert_is_shown_firing_and_silent(rule: dict[str, Any]) -> None:
    cases = [case for t in yaml.safe_load(RULES_TEST.read_text())["tests"] for case in t["alert_rule_test"]]
    shown = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]]
    assert set(shown) == {True, False}


@every_rule
def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "warn")
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert len(rule["annotations"]["runbook"]) > 80


# --- names ------------------------------------------------------------------------------------------------------------


@every_expression
def test_dashboard_and_rules_ask_for_metrics_that_the_services_declare(expression: Expression) -> None:
    assert named(expression.promql) <= set(LABELS)


@every_expression
def test_dashboard_and_rules_group_and_select_by_labels_that_the_metrics_have(expression: Expression) -> None:
    given = {"job", "instance", "le", "pack"}.union(*(LABELS[name] for name in named(expression.promql)))
    grouped = re.findall(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)", expression.promql)
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)", expression.promql)
    asked = {label.strip() for labels in grouped for label in labels.split(",") if label.strip()} | set(selected)
    assert asked <= given


def test_every_declared_metric_is_on_the_dashboard() -> None:
    shown = set().union(*(named(expression.promql) for expression in panel_expressions()))
    unseen = [name for name, declared in declarations().items() if shown.isdisjoint(series_of(declared))]
    assert unseen == []


# --- the dashboard ----------------------------------------------------------------------------------------------------


def test_the_dashboard_has_a_row_for_each_part_of_the_way() -> None:
    titles = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert titles == ["Now", "Intake", "Workers", "Lag", "Join", "Lookups", "Dead letters"]


def test_panels_have_a_question_a_unit_and_the_provisioned_datasource() -> None:
    provisioned = yaml.safe_load((MONITORING / "grafana" / "datasources.yml").read_text())["datasources"]
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"]["uid"] == provisioned[0]["uid"], panel["title"]


def test_panels_do_not_overlap_and_their_ids_are_unique() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_a_service_that_is_scraped_is_also_missed() -> None:
    (missing,) = [rule["expr"] for rule in rules() if rule["alert"] == "ServiceMissing"]
    assert set(re.findall(r'absent\(up\{job="(\w+)"\}\)', missing)) == set(scrape_configs()) - {"prometheus"}
