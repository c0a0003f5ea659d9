"""Reads what the project is deployed with: docker-compose.yml, the Dockerfile, k8s/ and the monitoring files."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import home

ROOT = Path(__file__).resolve().parents[1]
MONITORING = ROOT / "k8s" / "monitoring"
KUSTOMIZATIONS = ("base", "monitoring")
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """PromQL, and where it stands."""

    where: str
    promql: str


def tool(name: str, package: str) -> str:
    """The path of a program that the tests run. Raises RuntimeError that says which Debian package has it."""
    if found := shutil.which(name):
        return found
    raise RuntimeError(f"{name} is missing: apt-get install {package} (`make test` does)")


def prometheus_version() -> str:
    """Of the one that is deployed."""
    version, _, _digest = compose()["services"]["prometheus"]["image"].partition(":v")[2].partition("@")
    assert version
    return str(version)


def prometheus_tool(name: str) -> str:
    """The path of `prometheus` or `promtool`, as deployed. Raises RuntimeError when it is missing."""
    if (found := home() / f"prometheus-{prometheus_version()}" / name).is_file():
        return str(found)
    raise RuntimeError(f"{found} is missing: scripts/setup.sh --tests builds it (`make test` does)")


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@cache
def written() -> list[Manifest]:
    """What lies in k8s/, before kubectl makes anything of it: enough to name the tests."""
    paths = sorted(path for name in KUSTOMIZATIONS for path in (ROOT / "k8s" / name).glob("*.yaml"))
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text()) if manifest]


@cache
def rendered(kustomization: str) -> list[Manifest]:
    """What `kubectl apply -k k8s/NAME` would send to the cluster."""
    run = [tool("kubectl", "kubernetes-client"), "kustomize", str(ROOT / "k8s" / kustomization)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(kustomization: str, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in rendered(kustomization) if manifest["kind"] in kinds]


def name_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def workloads(kustomization: str) -> list[Manifest]:
    """Whatever makes pods."""
    return of_kind(kustomization, *WORKLOAD_KINDS)


@cache
def stages() -> dict[str, str]:
    """What each stage of the Dockerfile says, by name."""
    parts = re.split(r"^FROM\s+\S+\s+AS\s+(\S+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((MONITORING / "prometheus" / "rules.yml").read_text())["groups"]:
        yield from group["rules"]


def scrape_configs() -> dict[str, dict[str, Any]]:
    """The scrape configurations by job."""
    loaded = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    return {config["job_name"]: config for config in loaded["scrape_configs"]}


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MONITORING / "grafana" / "vitrine.json").read_text())
    return loaded


def panel_expressions() -> Iterator[Expression]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield Expression(f"panel {panel['title']}", target["expr"])


def rule_expressions() -> Iterator[Expression]:
    for rule in rules():
        yield Expression(f"alert {rule['alert']}", rule["expr"])
