"""The image, the compose file and the Kubernetes objects, as far as they need no engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from xdpdns.cli import main

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
KUBERNETES = ROOT / "deploy" / "kubernetes"
CAPABILITIES = {"BPF", "NET_ADMIN", "PERFMON", "SETGID", "SETUID"}
OBJECTS = sorted(path.name for path in KUBERNETES.glob("*.yaml") if path.stem != "kustomization")
WITHOUT_SCHEMA = {"podmonitor.yaml"}  # the Prometheus operator's


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def accepted(arguments: list[str]) -> None:
    """Raises if the command line doesn't take these options and values."""
    command, *rest = arguments
    main.commands[command].make_context(command, [*rest], resilient_parsing=False)


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not here: deploy/setup --dev installs it")
    argv = [hadolint, CONTAINER / "Dockerfile"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_image_is_built_from_what_is_there() -> None:
    listed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for pattern in listed:
        assert list(ROOT.glob(pattern)), pattern
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r"/src\[(.+)\]", (CONTAINER / "Dockerfile").read_text())[0].split(",")
    for extra in extras:
        assert f"\n{extra} = [" in project, extra


@pytest.fixture
def services() -> Any:
    return load(CONTAINER / "compose.yml")["services"]


def test_compose_mounts_what_is_there(services: Any) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (CONTAINER / source).exists(), f"{name}: {source}"
    build = services["xdpdns"]["build"]
    assert (CONTAINER / build["context"]).resolve() == ROOT
    assert (CONTAINER / build["context"] / build["dockerfile"]).is_file()


def test_grafana_has_every_dashboard_and_its_source(services: Any) -> None:
    mounted = {volume.split(":")[1] for volume in services["grafana"]["volumes"]}
    dashboards = load(CONTAINER / "grafana" / "dashboards.yml")
    folder = dashboards["providers"][0]["options"]["path"]
    for path in (ROOT / "grafana").glob("xdpdns*.json"):
        assert f"{folder}/{path.name}" in mounted
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in mounted
    [source] = load(CONTAINER / "grafana" / "datasources.yml")["datasources"]
    listens = services["prometheus"]["command"][1].rpartition("=")[2]
    assert source["url"] == f"http://{listens.replace('127.0.0.1', 'localhost')}"
    assert (source["type"], source["isDefault"]) == ("prometheus", True)


def test_compose_runs_the_agent_as_the_unit_does(services: Any) -> None:
    agent = services["xdpdns"]
    assert agent["cap_drop"] == ["ALL"]
    assert set(agent["cap_add"]) == CAPABILITIES
    unit = (ROOT / "deploy" / "xdpdns@.service").read_text()
    [bounds] = re.findall(r"^CapabilityBoundingSet=(.+)$", unit, re.MULTILINE)
    assert {name.removeprefix("CAP_") for name in bounds.split()} <= CAPABILITIES
    assert agent["read_only"] is True
    [interface] = [word for word in agent["command"] if word.startswith("$")]
    assert interface == "${XDPDNS_INTERFACE:-eth0}"
    arguments = [word for word in agent["command"] if word != interface]
    # the user is made in the image
    accepted(
        [
            "eth0" if word == interface else {"xdpdns": "nobody"}.get(word, word)
            for word in arguments
        ]
    )


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_takes_it(name: str, version: str) -> None:
    if name not in WITHOUT_SCHEMA:
        kubernetes_validate.validate(load(KUBERNETES / name), version, strict=True)


def test_kustomize_lists_every_object() -> None:
    made = load(KUBERNETES / "kustomization.yaml")
    assert sorted(made["resources"]) == OBJECTS
    for name in OBJECTS:
        meta = load(KUBERNETES / name)["metadata"]
        assert meta.get("namespace", meta["name"]) == made["namespace"]


def test_the_objects_find_each_other() -> None:
    daemon = load(KUBERNETES / "daemonset.yaml")["spec"]
    labels = daemon["template"]["metadata"]["labels"]
    service = load(KUBERNETES / "service.yaml")["spec"]
    monitor = load(KUBERNETES / "podmonitor.yaml")["spec"]
    for selector in (
        daemon["selector"]["matchLabels"],
        service["selector"],
        monitor["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    pod = daemon["template"]["spec"]
    [container] = pod["containers"]
    [port] = container["ports"]
    assert port["containerPort"] == 10530
    assert [one["targetPort"] for one in service["ports"]] == [port["name"]]
    assert [one["port"] for one in monitor["podMetricsEndpoints"]] == [port["name"]]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    [image] = load(KUBERNETES / "kustomization.yaml")["images"]
    assert container["image"] == image["name"]
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }


def test_the_pod_has_no_more_than_it_needs() -> None:
    pod = load(KUBERNETES / "daemonset.yaml")["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert pod["automountServiceAccountToken"] is False
    [container] = pod["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    assert set(context["capabilities"]["add"]) == CAPABILITIES
    values = {f"$({one['name']})": one["value"] for one in container["env"]}
    arguments = [values.get(word, word) for word in container["args"]]
    assert values.keys() <= set(container["args"])
    accepted([{"xdpdns": "nobody"}.get(word, word) for word in arguments])
