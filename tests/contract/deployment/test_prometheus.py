"""A real Prometheus with our configuration scrapes a real /metrics: every question of the dashboard gets an answer."""

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local.processes import spawn
from local.servers import Server
from tests.manifests import MONITORING, ROOT, Expression, panel_expressions, prometheus_tool, rules, scrape_configs

PATIENCE_SECONDS = 30.0


class Prometheus(Server):
    """Our own configuration, but faster, and every job's target is one exporter on this machine."""

    name = "Prometheus"

    def __init__(self, data: Path, exporter_port: int) -> None:
        super().__init__(data)
        self._exporter = f"127.0.0.1:{exporter_port}"

    def ask(self, path: str, **query: str) -> Any:
        """The `data` of an answer; an error of Prometheus fails the test with its text."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=query, timeout=10).json()
        assert answer["status"] == "success", answer["error"]
        return answer["data"]

    def _launch(self) -> subprocess.Popen[bytes]:
        ours = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
        ours["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        for job in ours["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [self._exporter]}]
        (self.data / "prometheus.yml").write_text(yaml.safe_dump(ours))
        (self.data / "rules.yml").write_text((MONITORING / "prometheus" / "rules.yml").read_text())
        files = [f"--config.file={self.data / 'prometheus.yml'}", f"--storage.tsdb.path={self.data / 'tsdb'}"]
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        return spawn([prometheus_tool("prometheus"), *files, listen], self.log)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def exporter_port() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.exporter"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exporter:
        assert exporter.stdin is not None
        assert exporter.stdout is not None
        yield int(exporter.stdout.readline())
        exporter.stdin.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, exporter_port: int) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus"), exporter_port) as running:
        yield running


def eventually(found: Any, otherwise: str) -> Any:
    """Asks until there is something: a rate needs two scrapes. Fails after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        if time.monotonic() > deadline:
            pytest.fail(otherwise)
        time.sleep(0.2)
    return answer


def numbers(prometheus: Prometheus, promql: str) -> list[float]:
    result = prometheus.ask("query", query=promql.replace("$__rate_interval", "10s"))["result"]
    return [number for sample in result if not math.isnan(number := float(sample["value"][1]))]


def test_every_job_of_the_scrape_configuration_is_scraped(prometheus: Prometheus) -> None:
    def all_up() -> bool:
        targets = prometheus.ask("targets")["activeTargets"]
        return {t["labels"]["job"] for t in targets if t["health"] == "up"} == set(scrape_configs())

    eventually(all_up, "not every job has a target that is up")


@pytest.mark.parametrize("expression", list(panel_expressions()), ids=lambda e: e.where)
def test_a_panel_gets_numbers(prometheus: Prometheus, expression: Expression) -> None:
    assert eventually(lambda: numbers(prometheus, expression.promql), f"no data for {expression.promql}")


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else None

    found = eventually(evaluated, "rules were not evaluated")
    assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
    assert [rule.get("lastError") for rule in found if rule["health"] != "ok"] == []


def test_a_paused_worker_and_a_failing_gateway_reach_the_alerts(prometheus: Prometheus) -> None:
    """The exporter shows both; how long they must last is for promtool's tests."""

    def active() -> bool:
        alerts = {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}
        return {"WorkerPaused", "GatewayErrors", "LookupErrors"} <= alerts

    eventually(active, "the alerts did not become pending")
