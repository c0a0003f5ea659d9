"""What the fleet shows of itself: each process its own metrics, and logs that a machine can read."""

import json
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from shared import metrics
from shared.topics import TASKS
from tests.fleet.conftest import RunningFleet

pytestmark = pytest.mark.asyncio(loop_scope="session")

GROUPS: dict[str, set[CollectorRegistry]] = {
    "gateway": {metrics.INTAKE},
    **{task: {metrics.WORKER} for task in TASKS},
    "embedding": {metrics.WORKER, metrics.RPC},
    "join": {metrics.JOIN},
    "serve": {metrics.RPC},
    "lag": {metrics.LAG},
}


def families(group: CollectorRegistry) -> set[str]:
    return {family.name for family in group.collect()}


def shown(told: str) -> set[str]:
    """Names of our families, as the registries call them; when each was created is a family of its own in the text."""
    names = {family.name for family in text_string_to_metric_families(told) if family.name.startswith("vitrine_")}
    return {name.removesuffix("_info") for name in names if not name.endswith("_created")}


@pytest.mark.parametrize("name", GROUPS)
async def test_a_process_exports_its_own_metrics_only_and_is_ready(tested: RunningFleet, name: str) -> None:
    port = tested.fleet.plan.ports.metrics_of(name)
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    assert shown(told) == {"vitrine_ready"}.union(*(families(group) for group in GROUPS[name]))
    assert re.findall(r"^vitrine_ready\{.*\} 0\.0$", told, re.MULTILINE) == []
    assert "process_start_time_seconds" in told


async def test_every_line_of_every_log_is_json_and_names_its_service(tested: RunningFleet) -> None:
    for name in GROUPS:
        lines = tested.fleet.supervisor.log_of(name).read_text().splitlines()
        assert lines, name
        for line in lines:
            assert json.loads(line)["service"], f"{name}: {line}"
