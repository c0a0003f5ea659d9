"""Before the fleet starts, each thing that the machine lacks is a line that says what to do."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from local.fleet import Plan, Ports, lacks, services_of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan that lacks nothing."""
    return Plan(tmp_path, ports=Ports.free(), kafka="kafka:9092", redis="redis://redis", cores=2)


def test_nothing_is_lacking_where_all_is_there(plan: Plan) -> None:
    assert list(lacks(plan)) == []


def test_a_busy_port_is_named_with_its_use_and_the_way_out(plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        busy = replace(plan, ports=replace(plan.ports, http=port))
        assert list(lacks(busy)) == [
            f"port {port} (http) is busy: stop what listens there, or let `vitrine run --free-ports` choose others"
        ]


def test_the_port_of_a_server_that_is_given_may_be_busy(plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert list(lacks(replace(plan, ports=replace(plan.ports, kafka=other.getsockname()[1])))) == []


def test_missing_jars_say_what_to_run(plan: Plan, tmp_path: Path) -> None:
    bare = replace(plan, home=tmp_path / "bare", kafka=None)
    assert [line.split(": ")[-1] for line in lacks(bare)] == ["run `make setup`"]


def test_the_workers_share_the_cores(plan: Plan) -> None:
    def threads(plan: Plan) -> dict[str, str]:
        return {one.name: one.env["OMP_NUM_THREADS"] for one in services_of(plan, "k", "r")}

    assert threads(replace(plan, cores=8))["embedding"] == "2"
    assert threads(replace(plan, cores=2))["embedding"] == "1"
    assert threads(replace(plan, cores=8, fused=True))["fused"] == "8"
    assert threads(replace(plan, cores=8))["gateway"] == "1"


def test_split_or_fused_every_task_runs_once(plan: Plan) -> None:
    split = [service.name for service in services_of(plan, "k", "r")]
    fused = [service.name for service in services_of(replace(plan, fused=True), "k", "r")]
    assert split == ["gateway", "join", "serve", "classification", "attributes", "embedding", "fraud", "lag"]
    assert fused == ["gateway", "join", "serve", "fused", "lag"]
