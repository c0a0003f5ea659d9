"""What docker-compose and Kubernetes are told fits together, and fits the code. Nothing is started, nothing fetched."""

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import click
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from cli.__main__ import main as vitrine
from services.attributes.task import TEXT_SIDE
from services.gateway.settings import GatewaySettings
from shared.grpc import Bounds
from shared.health import Health, serve_health
from shared.limits import DECODING_BYTES, DECODING_HELPERS, HELPER_BYTES, MAX_PHOTO_BYTES, MAX_PHOTO_SIDE
from shared.settings import Settings
from shared.stream.serving import WorkerSettings
from shared.stream.worker import Limits
from shared.stream.worker.remembered import LOOK_BYTES
from tests.manifests import (
    KUSTOMIZATIONS,
    ROOT,
    WORKLOAD_KINDS,
    Manifest,
    compose,
    name_of,
    of_kind,
    rendered,
    scrape_configs,
    stages,
    workloads,
    written,
)

CONSUMERS = {"classification", "attributes", "embedding", "fraud"}
IMAGES = ("base", "inference", "inference-gpu")
FLEET = CONSUMERS | {"gateway", "join", "serve", "lag"}
SERVICES: dict[str, dict[str, Any]] = compose()["services"]
POD_NAMES = sorted(name_of(manifest) for manifest in written() if manifest["kind"] in WORKLOAD_KINDS)

every_service = pytest.mark.parametrize("name", sorted(SERVICES))
every_pod = pytest.mark.parametrize("name", POD_NAMES)
every_member = pytest.mark.parametrize("name", sorted(FLEET))


@cache
def everything() -> list[Manifest]:
    """All that is sent to a cluster."""
    return [manifest for kustomization in KUSTOMIZATIONS for manifest in rendered(kustomization)]


@cache
def workloads_by_name() -> dict[str, Manifest]:
    return {name_of(workload): workload for k in KUSTOMIZATIONS for workload in workloads(k)}


@cache
def pods() -> dict[str, Manifest]:
    """What each workload's pods are made of."""
    return {name: workload["spec"]["template"]["spec"] for name, workload in workloads_by_name().items()}


@cache
def containers() -> dict[str, Manifest]:
    return {name: pod["containers"][0] for name, pod in pods().items()}


def test_every_workload_is_tested() -> None:
    assert sorted(pods()) == POD_NAMES


def environment_of_pod(name: str) -> dict[str, str]:
    """Name to value, or to the secret's key; the ConfigMap first, as the container sees it."""
    container = containers()[name]
    configuration = {name_of(m): m["data"] for k in KUSTOMIZATIONS for m in of_kind(k, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= configuration[source["configMapRef"]["name"]]
    for entry in container.get("env", []):
        found[entry["name"]] = entry["value"] if "value" in entry else entry["valueFrom"]["secretKeyRef"]["key"]
    return found


def environments(name: str) -> list[dict[str, str]]:
    """The variables of one of the fleet, in compose and in Kubernetes."""
    return [SERVICES[name]["environment"], environment_of_pod(name)]


def settings_variables() -> set[str]:
    """VITRINE_* of every settings class there is."""
    for path in chain((ROOT / "shared").glob("*.py"), (ROOT / "services").rglob("*.py")):
        if re.search(r"^class \w+\(\w*Settings\)", path.read_text(), re.MULTILINE):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return {f"VITRINE_{field.upper()}" for known in with_subclasses(Settings) for field in known.model_fields}


def with_subclasses(of: type[Settings]) -> Iterator[type[Settings]]:
    yield of
    for child in of.__subclasses__():
        yield from with_subclasses(child)


def requirements(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def is_pinned(image: str) -> bool:
    """Whether a full version names it, x.y or longer, and for an image that isn't ours its digest too."""
    tag, _, digest = image.rpartition("/")[2].partition(":")[2].partition("@")
    theirs = not image.startswith("vitrine-")
    return re.fullmatch(r"v?\d+\.\d+[\w.-]*", tag) is not None and (
        not theirs or re.fullmatch("sha256:[0-9a-f]{64}", digest) is not None
    )


def container_port(name: str, port: str) -> int:
    found: int = next(p["containerPort"] for p in containers()[name]["ports"] if p["name"] == port)
    return found


def exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


# Hides every module whose distribution isn't in the requirements, as if it were not installed.
IMPORT_WITH_BASE_ONLY = """
import importlib, re, sys
from importlib.metadata import packages_distributions
from pathlib import Path

requirements, *modules = sys.argv[1:]
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
installed = {plain(name) for name in re.findall(r"^([\\w.-]+)==", Path(requirements).read_text(), re.MULTILINE)}
installed.add("vitrine")
hidden = {top for top, found in packages_distributions().items() if installed.isdisjoint(map(plain, found))}

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in {requirements}", name=name)

sys.meta_path.insert(0, Hide())
assert "torch" in hidden
for module in modules:
    importlib.import_module(module)
"""


# --- the Dockerfile ---------------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_ends_as_a_user_that_kubernetes_can_tell_from_root(image: str) -> None:
    users = re.findall(r"^USER\s+(\S+)", stages()[image], re.MULTILINE)
    assert users[-1:] == ["10001:10001"]


@pytest.mark.parametrize(
    ("image", "requirements"),
    [("base", "base.txt"), ("inference", "inference-cpu.txt"), ("inference-gpu", "inference.txt")],
)
def test_packages_are_installed_by_hash_and_so_is_what_they_are_built_with(image: str, requirements: str) -> None:
    assert f"--require-hashes -r requirements/{requirements}" in stages()[f"{image}-packages"]
    if image != "base":  # of which each package has a wheel
        assert "--build-constraints requirements/build.txt" in stages()[f"{image}-packages"]


def test_images_without_a_gpu_install_the_same_versions_and_nothing_of_cuda_but_its_runtime() -> None:
    pins = {
        name: set(re.findall(r"^([\w.-]+==\S+)", requirements(name), re.MULTILINE))
        for name in ("inference", "inference-cpu")
    }
    assert pins["inference-cpu"] < pins["inference"]
    cuda = {pin.partition("==")[0] for pin in pins["inference-cpu"] if pin.startswith(("nvidia", "cuda", "triton"))}
    assert cuda == {"nvidia-cuda-runtime"}


def test_the_base_image_gets_nothing_from_the_stages_with_torch() -> None:
    assert "inference-packages" not in stages()["base"]


@pytest.mark.parametrize("name", sorted(FLEET - CONSUMERS | {"topics"}))
def test_what_the_base_image_runs_imports_only_what_it_installs(name: str) -> None:
    module = {"vitrine": "cli.topics"}.get(SERVICES[name]["command"][0]) or SERVICES[name]["command"][2]
    names = [module, f"{module}.__main__", f"{module}.{name}", f"{module}.server"]
    imported = [m for m in names if importlib.util.find_spec(module) and exists(m)]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_BASE_ONLY, str(ROOT / "requirements" / "base.txt"), *imported],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY ((?!--from).*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in allowed), source


def test_the_health_check_of_image_and_compose_is_what_readyz_says() -> None:
    health = Health()
    port = str(serve_health(health, "127.0.0.1", 0))
    quoted = re.search(r"HEALTHCHECK .*\\\n\s*(\".*\")\]", stages()["runtime"])
    assert quoted is not None
    check = SERVICES["fraud"]["healthcheck"]["test"]
    assert check == ["CMD", "python", "-c", json.loads(quoted[1])]

    def status(**variables: str) -> int:
        return subprocess.run([sys.executable, *check[2:]], env=variables, capture_output=True, timeout=30).returncode

    assert status(VITRINE_METRICS_PORT=port) != 0
    health.started()
    assert status(VITRINE_METRICS_PORT=port) == 0


# --- docker-compose ---------------------------------------------------------------------------------------------------


def test_compose_has_the_fleet_and_what_it_stands_on() -> None:
    assert set(SERVICES) == FLEET | {"topics", "kafka", "redis", "seaweedfs", "prometheus", "grafana"}


@every_service
def test_a_service_is_built_from_a_target_that_exists_or_pinned_to_a_version(name: str) -> None:
    service = SERVICES[name]
    assert is_pinned(service["image"])
    if "build" in service:
        assert service["build"]["context"] == "."
        assert service["image"].partition(":")[0] == f"vitrine-{service['build']['target']}"
        assert service["build"]["target"] in stages()


@every_member
def test_only_the_consumers_run_the_image_with_torch(name: str) -> None:
    assert SERVICES[name]["build"]["target"] == ("inference" if name in CONSUMERS else "base")
    assert containers()[name]["image"] == SERVICES[name]["image"]


@every_service
def test_a_service_is_checked_limited_and_confined(name: str) -> None:
    service = SERVICES[name]
    one_shot = service["restart"] == "no"
    assert one_shot == bool(service["healthcheck"].get("disable"))
    assert one_shot or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["mem_limit"]
    assert service["cpus"]
    if name != "seaweedfs":  # its image starts as root and then steps down
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@every_service
def test_a_published_port_is_on_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), port


@every_service
def test_a_service_waits_for_what_can_come_true(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        match wait["condition"]:
            case "service_healthy":
                assert not SERVICES[other]["healthcheck"].get("disable")
            case "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"
            case condition:
                pytest.fail(f"{name} waits for {other} to be {condition}")


@every_service
def test_volumes_are_declared_and_mounted_files_exist(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith("./") else source in compose()["volumes"], source


def test_no_variable_is_used_without_a_default() -> None:
    used = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", (ROOT / "docker-compose.yml").read_text())
    assert used
    assert [name for name, rest in used if not rest.startswith(":-")] == []


def test_kafka_sends_clients_on_to_an_address_that_they_can_reach() -> None:
    kafka = SERVICES["kafka"]
    advertised = dict(a.split("://") for a in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["INTERNAL"] == SERVICES["gateway"]["environment"]["VITRINE_KAFKA"]
    assert advertised["HOST"] == Settings.model_fields["kafka"].default
    assert f"{advertised['HOST']}:{advertised['HOST'].split(':')[1]}" in kafka["ports"]


def test_the_join_may_rely_on_the_append_only_file_of_redis() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--appendfsync") + 1] == "everysec"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


# --- Kubernetes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_each_manifest_is_valid_to_the_letter(kustomization: str) -> None:
    wrong = {}
    for manifest in rendered(kustomization):
        try:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as why:
            wrong[f"{manifest['kind']} {name_of(manifest)}"] = str(why)
    assert not wrong


def test_an_unknown_kind_or_field_would_be_found() -> None:
    broken = {"apiVersion": "v1", "kind": "Servise", "metadata": {"name": "x"}}
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            broken | {"kind": "Service", "spek": {}}, kubernetes_validate.latest_version(), strict=True
        )


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_every_file_is_part_of_its_kustomization(kustomization: str) -> None:
    folder = ROOT / "k8s" / kustomization
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_everything_is_in_the_namespace_vitrine() -> None:
    assert {m["metadata"].get("namespace") for m in everything() if m["kind"] != "Namespace"} == {"vitrine"}
    assert [name_of(m) for m in everything() if m["kind"] == "Namespace"] == ["vitrine"]


def test_the_whole_fleet_is_deployed() -> None:
    assert set(workloads_by_name()) == FLEET | {"topics", "prometheus", "grafana"}


@every_pod
def test_a_pod_may_do_nothing_it_need_not(name: str) -> None:
    pod, security = pods()[name], containers()[name]["securityContext"]
    assert len(pod["containers"]) == 1
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    # Kubernetes would add VITRINE_… variables for a Service of that name.
    assert pod["enableServiceLinks"] is False
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in {mount["mountPath"] for mount in containers()[name]["volumeMounts"]}


@every_pod
def test_a_pod_says_what_it_needs_and_runs_a_pinned_image(name: str) -> None:
    container = containers()[name]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert is_pinned(container["image"])


@every_pod
def test_a_pod_is_probed_on_ports_that_it_has(name: str) -> None:
    container = containers()[name]
    if workloads_by_name()[name]["kind"] == "Job":
        return
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        if "grpc" in probe:
            assert probe["grpc"]["port"] == ports["grpc"]
        else:
            assert probe["httpGet"]["port"] in ports


@every_member
def test_probes_and_metrics_have_a_port_of_their_own_that_is_not_published(name: str) -> None:
    container = containers()[name]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[kind].get("httpGet", {"port": "metrics"})["port"] == "metrics"
    ports = [port["containerPort"] for port in container["ports"]]
    assert ports.count(container_port(name, "metrics")) == 1
    assert SERVICES[name]["environment"]["VITRINE_METRICS_PORT"] not in str(SERVICES[name].get("ports", []))
    for manifest in everything():
        if manifest["kind"] == "Service" and name_of(manifest) == name:
            assert "metrics" not in {port["targetPort"] for port in manifest["spec"]["ports"]}


@every_member
def test_only_livez_decides_a_restart_and_lookups_are_probed_as_they_are_made(name: str) -> None:
    container = containers()[name]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    if name == "serve":
        assert "grpc" in container["readinessProbe"]
    else:
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@every_member
def test_started_means_loaded_and_needs_nothing_else(name: str) -> None:
    """Where Redis or Kafka is away a restart of what waits for it would bring nothing back."""
    assert containers()[name]["startupProbe"]["httpGet"]["path"] == "/startz"


@pytest.mark.parametrize("name", ["gateway", "serve", "embedding"])
def test_whoever_is_called_is_left_in_peace_until_routes_have_changed_and_has_time_to_finish(name: str) -> None:
    drain, settings = Settings().drain_seconds, GatewaySettings()
    work = settings.finish_seconds if name == "gateway" else 30
    assert containers()[name]["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5
    pre_stop = containers()[name]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pods()[name]["terminationGracePeriodSeconds"] >= pre_stop + drain + work + 10
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= drain + work + 5


def test_photo_searches_outlive_a_broker_that_is_away() -> None:
    """An embedding pod is then unready; its queries need no broker."""
    (service,) = [m for m in everything() if m["kind"] == "Service" and name_of(m) == "embedding"]
    assert service["spec"]["publishNotReadyAddresses"] is True


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """A row of the table in docs/architecture.md: MiB as `python -m bench.memory` printed them, and what follows."""

    idle: int
    start: int
    converting: int
    ordinary: int
    largest: int
    photos: int
    decoding: int
    request: int
    limit: int


def memory_table() -> dict[str, Memory]:
    chapter = (ROOT / "docs" / "architecture.md").read_text().partition("## Memory")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \|((?: [\d,]+ \|){9})$", chapter, re.MULTILINE)
    return {name: Memory(*(int(cell.replace(",", "")) for cell in cells.split("|")[:-1])) for name, cells in rows}


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit in ("Gi", "g") else 1)


@every_member
def test_a_pod_asks_for_what_it_was_measured_to_hold_and_is_allowed_what_it_holds_at_most(name: str) -> None:
    row, resources = memory_table()[name], containers()[name]["resources"]
    assert mebibytes(resources["requests"]["memory"]) == row.request >= row.ordinary
    assert mebibytes(resources["limits"]["memory"]) == row.limit >= 1.1 * max(row.start, row.converting)
    assert row.limit >= max(row.largest, row.ordinary + row.decoding) + row.photos
    assert mebibytes(SERVICES[name]["mem_limit"]) in (row.limit, 512)
    assert mebibytes(SERVICES[name]["mem_limit"]) >= row.limit


@every_member
def test_the_table_of_memory_has_what_the_bounds_in_the_code_let_each_process_hold(name: str) -> None:
    row, given = memory_table()[name], environment_of_pod(name)
    photos = decoding = 0
    decoded = DECODING_BYTES + DECODING_HELPERS * HELPER_BYTES
    if name == "gateway":
        # As they were sent, and beside those that are being decoded what is kept of them.
        cleaned = int(given["VITRINE_THREADS"]) * MAX_PHOTO_BYTES
        photos, decoding = int(given["VITRINE_UPLOAD_MEMORY_BYTES"]) + cleaned, decoded
    elif name in CONSUMERS:
        # A thread looks at a photo of the longest side, of which the shorter was just not halved.
        shorter = 2 * (TEXT_SIDE if name == "attributes" else 224)
        looked_at = int(given["VITRINE_THREADS"]) * 3 * MAX_PHOTO_SIDE * shorter
        photos, decoding = Limits().photo_bytes + Limits().waiting_bytes, decoded + looked_at
        # Not in the table, whose measurements may hold some of it.
        remembered = WorkerSettings.model_fields["remembered_photos"].default * LOOK_BYTES
        assert row.limit >= max(row.largest, row.ordinary + row.decoding) + row.photos + remembered / 2**20
    if name in ("embedding", "serve"):
        photos += Bounds().photo_bytes
    assert row.photos == -(-photos // 2**20)
    assert row.decoding == -(-decoding // 2**20)


@every_pod
def test_mounts_and_references_lead_somewhere(name: str) -> None:
    pod, container = pods()[name], containers()[name]
    claims = workloads_by_name()[name]["spec"].get("volumeClaimTemplates", [])
    volumes = {v["name"] for v in pod.get("volumes", [])} | {name_of(claim) for claim in claims}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    configuration = {name_of(m) for m in everything() if m["kind"] == "ConfigMap"}
    used = {v["configMap"]["name"] for v in pod.get("volumes", []) if "configMap" in v}
    used |= {source["configMapRef"]["name"] for source in container.get("envFrom", [])}
    assert used <= configuration
    accounts = {name_of(m) for m in everything() if m["kind"] == "ServiceAccount"} | {"default"}
    assert pod.get("serviceAccountName", "default") in accounts


def test_services_and_budgets_select_pods_and_ports_that_exist() -> None:
    for manifest in everything():
        if manifest["kind"] not in ("Service", "PodDisruptionBudget"):
            continue
        selector = manifest["spec"]["selector"]
        wanted = selector.get("matchLabels", selector).items()
        chosen = [
            n for n, w in workloads_by_name().items() if wanted <= w["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, name_of(manifest)
        for port in manifest["spec"].get("ports", []):
            assert container_port(chosen[0], port["targetPort"]) == port["port"], name_of(manifest)


@every_member
def test_a_member_has_a_budget_for_disruptions(name: str) -> None:
    assert name in {name_of(m) for m in everything() if m["kind"] == "PodDisruptionBudget"}


def test_grpc_clients_reach_every_pod() -> None:
    headless = {name_of(m) for m in everything() if m["kind"] == "Service" and m["spec"].get("clusterIP") == "None"}
    assert {"serve", "embedding"} <= headless


# --- compose, Kubernetes and the code agree ---------------------------------------------------------------------------


def test_every_vitrine_variable_is_a_setting_that_some_service_reads() -> None:
    given = {name for member in FLEET | {"topics"} for environment in environments(member) for name in environment}
    known = settings_variables()
    assert sorted(name for name in given if name.startswith("VITRINE_") and name not in known) == []


@every_member
def test_a_member_listens_beyond_its_container(name: str) -> None:
    for environment in environments(name):
        assert environment["VITRINE_HOST"] == "0.0.0.0"


@every_member
def test_those_who_use_photos_or_redis_are_told_where_and_as_whom(name: str) -> None:
    for environment in environments(name):
        if name in CONSUMERS | {"gateway"}:
            assert environment["VITRINE_PHOTO_STORE"].startswith("s3://")
            wanted = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
            assert wanted <= set(environment)
        else:
            assert "AWS_SECRET_ACCESS_KEY" not in environment
        if name in {"fraud", "join", "serve"}:
            assert environment["VITRINE_REDIS"]


@pytest.mark.parametrize("name", sorted(FLEET | {"topics"}))
def test_a_command_exists_and_is_the_same_in_compose_and_kubernetes(name: str) -> None:
    here, there = SERVICES[name]["command"], containers()[name]["command"]
    assert there[: len(here)] == here
    if here[0] == "vitrine":
        command = vitrine.get_command(click.Context(vitrine), here[1])
        assert command is not None
        command.make_context(here[1], there[2:])  # raises for an option that it does not have
        return
    assert here[:2] == ["python", "-m"]
    module = importlib.util.find_spec(here[2])
    assert module is not None, here[2]
    if module.submodule_search_locations:
        assert importlib.util.find_spec(f"{here[2]}.__main__") is not None, here[2]


@every_member
def test_prometheus_scrapes_the_port_that_the_service_serves(name: str) -> None:
    (lookup,) = scrape_configs()[name]["dns_sd_configs"]
    assert lookup["names"] == [f"{name}-metrics"]
    assert lookup["names"] == SERVICES[name]["networks"]["default"]["aliases"]
    assert {int(environment["VITRINE_METRICS_PORT"]) for environment in environments(name)} == {lookup["port"]}
    (service,) = [m for m in everything() if m["kind"] == "Service" and name_of(m) == f"{name}-metrics"]
    assert [port["port"] for port in service["spec"]["ports"]] == [lookup["port"]]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert lookup["port"] in {p["containerPort"] for p in containers()[name]["ports"]}


def test_prometheus_scrapes_nothing_else() -> None:
    assert set(scrape_configs()) == FLEET | {"prometheus"}


def test_services_find_each_other() -> None:
    for caller, variable in (("gateway", "VITRINE_RECOMMENDATION"), ("serve", "VITRINE_EMBEDDING")):
        for place, environment in enumerate(environments(caller)):
            host, port = environment[variable].split(":")
            assert environments(host)[place]["VITRINE_GRPC_PORT"] == port
            assert container_port(host, "grpc") == int(port)


def test_compose_mounts_the_very_files_that_kubernetes_gets() -> None:
    mounted = {v.split(":")[0] for name in ("prometheus", "grafana") for v in SERVICES[name]["volumes"]}
    maps = {re.sub(r"-[a-z0-9]{10}$", "", name_of(m)): m["data"] for m in of_kind("monitoring", "ConfigMap")}
    monitoring = ROOT / "k8s" / "monitoring"
    assert maps["prometheus"] == {p.name: p.read_text() for p in (monitoring / "prometheus").iterdir()}
    assert "./k8s/monitoring/prometheus" in mounted
    for name, key, file in (
        ("grafana-datasources", "vitrine.yml", "datasources.yml"),
        ("grafana-providers", "vitrine.yml", "providers.yml"),
        ("grafana-dashboards", "vitrine.json", "vitrine.json"),
    ):
        assert maps[name] == {key: (monitoring / "grafana" / file).read_text()}
        assert f"./k8s/monitoring/grafana/{file}" in mounted


def test_what_the_images_are_built_on_is_pinned() -> None:
    [base] = re.findall(r"^ARG PYTHON=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert is_pinned(base)
    assert not is_pinned(base.partition("@")[0])


def test_images_of_prometheus_and_grafana_are_the_same_in_compose_and_kubernetes() -> None:
    for name in ("prometheus", "grafana"):
        assert SERVICES[name]["image"] == containers()[name]["image"]
