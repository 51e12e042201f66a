"""The container files of `deploy/docker/` are what they say, as far as that shows without Docker."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
import tomllib
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from reactor_runtime.cli import app
from reactor_runtime.config import Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "deploy" / "docker"
#: Settings that are no field of `Settings`: the first is of the weights' cache.
OTHERS = {"REACTOR_CACHE"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: its instructions and what each is given, comments and continuations gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in whole.splitlines() if line.strip()]


def stages(text: str) -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, its FROM first."""
    split: list[list[tuple[str, str]]] = []
    for instruction in instructions(text):
        if instruction[0] == "FROM":
            split.append([])
        if split:
            split[-1].append(instruction)
    return split


def given(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [words for instruction, words in stage if instruction == name]


def expanded(value: Any) -> Any:
    """Fill in what compose takes from the environment: the default, or a word where one is asked for."""
    if isinstance(value, dict):
        return {key: expanded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [expanded(each) for each in value]
    if not isinstance(value, str):
        return value
    return re.sub(
        r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}",
        lambda found: found[2] if found[2] is not None else "given",
        value,
    )


@pytest.fixture(scope="module")
def dockerfile() -> list[list[tuple[str, str]]]:
    return stages((DOCKER / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    whole = expanded(yaml.safe_load((DOCKER / "compose.yaml").read_text()))
    found: dict[str, dict[str, Any]] = whole["services"]
    return found


def test_both_stages_have_the_one_base_that_is_chosen_at_build(dockerfile: Any) -> None:
    assert [given(stage, "FROM") for stage in dockerfile] == [["${BASE} AS build"], ["${BASE} AS runtime"]]
    before = instructions((DOCKER / "Dockerfile").read_text())[0]
    assert re.fullmatch(r"BASE=debian:\d+\.\d+-slim", before[1])


def test_what_runs_is_not_root_and_is_reached_by_no_compiler(dockerfile: Any) -> None:
    _, runtime = dockerfile
    names = [instruction for instruction, _ in runtime]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", given(runtime, "USER")[-1])
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))
    assert not re.search(
        r"gcc|build-essential|python3-dev|python3-venv|\bpip\b", " ".join(given(runtime, "RUN"))
    )
    assert given(runtime, "COPY") == ["--from=build /opt/framehelm /opt/framehelm"]


def test_nothing_of_a_package_manager_stays_in_a_layer(dockerfile: Any) -> None:
    for run in (run for stage in dockerfile for run in given(stage, "RUN")):
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run
        if "pip install" in run:
            assert "--no-cache-dir" in run


def test_the_builder_is_sent_what_is_copied_and_nothing_else(dockerfile: Any) -> None:
    sources = [word for copy in given(dockerfile[0], "COPY") for word in shlex.split(copy)[:-1]]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(sources)
    assert all((ROOT / source).exists() for source in sources)
    assert any(fnmatch("src/reactor_runtime/__pycache__", rule) for rule in rules)
    # What makes the wheel is among it.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    assert needed <= set(sources)
    assert all(
        each.startswith("src/") for each in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )


def test_the_extras_that_are_named_exist(services: Any) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = re.search(r"# Extras of pyproject.toml, .*: (.*)\.", (DOCKER / "Dockerfile").read_text())
    assert told is not None
    assert set(told[1].split(", ")) == set(extras) - {"dev", "notebook"}
    wanted = {service["build"]["args"].get("EXTRAS") for service in services.values()} - {None, ""}
    assert wanted <= set(extras)


def test_every_setting_is_one_of_the_server_s_and_its_value_is_accepted(
    dockerfile: Any, services: Any
) -> None:
    image = dict(word.split("=", 1) for env in given(dockerfile[1], "ENV") for word in shlex.split(env))
    known = {f"REACTOR_{name.upper()}" for name in Settings.model_fields} | OTHERS
    for environment in [{}, *(service["environment"] for service in services.values())]:
        whole = {key: value for key, value in (image | environment).items() if key.startswith("REACTOR_")}
        assert whole.keys() <= known
        settings = Settings.load({}, environ=whole)
        assert environment == {} or settings.tokens_count


def test_the_command_is_one_that_the_program_has(dockerfile: Any) -> None:
    (entry,), (command,) = given(dockerfile[1], "ENTRYPOINT"), given(dockerfile[1], "CMD")
    assert yaml.safe_load(entry) == ["reactor"]
    name, folder = yaml.safe_load(command)
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0
    assert given(dockerfile[1], "WORKDIR") == [folder]


class Alive(BaseHTTPRequestHandler):
    """Answers what a server does that is alive, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.slow
def test_the_health_check_tells_a_server_that_answers_from_none(dockerfile: Any) -> None:
    check = yaml.safe_load(given(dockerfile[1], "HEALTHCHECK")[0].partition("CMD")[2])

    def status(port: int) -> int:
        environ = os.environ | {"REACTOR_PORT": str(port)}
        return subprocess.run(check, env=environ, capture_output=True, timeout=20).returncode

    with HTTPServer(("127.0.0.1", 0), Alive) as server:
        answering = threading.Thread(target=server.serve_forever, args=(0.05,))
        answering.start()
        assert status(server.server_port) == 0
        server.shutdown()
        answering.join()
    assert status(server.server_port) != 0


def test_a_container_can_write_nowhere_but_where_it_must(services: Any) -> None:
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        model, weights = service["volumes"]
        assert (model["target"], model["read_only"]) == ("/model", True)
        assert weights["target"] == service["environment"].get("REACTOR_CACHE", "/var/cache/reactor")
        assert {mount.partition(":")[0] for mount in service["tmpfs"]} == {"/tmp", "/var/lib/reactor"}


def test_media_reach_the_container_and_frames_have_room(services: Any) -> None:
    for service in services.values():
        assert service["network_mode"] == "host"
        assert int(service["shm_size"].removesuffix("m")) >= 512


def test_a_container_is_given_the_time_to_let_sessions_end(services: Any) -> None:
    stop_s = Settings.load({}, environ={}).stop_s
    for service in services.values():
        drain_s = float(service["environment"]["REACTOR_DRAIN_S"])
        assert float(service["stop_grace_period"].removesuffix("s")) >= drain_s + stop_s + 5


def test_one_profile_has_the_gpus_and_the_other_has_none(services: Any) -> None:
    cpu, cuda = services["cpu"], services["cuda"]
    assert "deploy" not in cpu
    (device,) = cuda["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert re.fullmatch(r"nvidia/cuda:[\d.]+-base-ubuntu[\d.]+", cuda["build"]["args"]["BASE"])
    assert "BASE" not in cpu["build"]["args"]


# Kubernetes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pods() -> dict[str, dict[str, Any]]:
    """The pods of the Ray on Kubernetes, by the name of their one container."""
    spec = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text())["spec"]
    templates = [spec["headGroupSpec"]["template"], *(each["template"] for each in spec["workerGroupSpecs"])]
    return {template["spec"]["containers"][0]["name"]: template["spec"] for template in templates}


def test_a_ray_on_kubernetes_asks_for_a_token_and_has_no_dashboard() -> None:
    spec = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text())["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (ray,) = [each for each in map(Requirement, extras["cluster"]) if each.name == "ray"]
    assert spec["rayVersion"] in ray.specifier


def test_a_pod_is_not_root_and_its_media_have_the_machine_s_network(pods: dict[str, dict[str, Any]]) -> None:
    assert set(pods) == {"ray-head", "ray-worker"}
    for pod in pods.values():
        (container,) = pod["containers"]
        assert pod["hostNetwork"] is True
        assert pod["dnsPolicy"] == "ClusterFirstWithHostNet"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not container["image"].endswith(":latest")
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["shared"] == "/dev/shm"
        assert set(mounts) <= {volume["name"] for volume in pod["volumes"]}


def test_only_workers_have_a_gpu_and_a_cache_of_weights(pods: dict[str, dict[str, Any]]) -> None:
    (head,), (worker,) = pods["ray-head"]["containers"], pods["ray-worker"]["containers"]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert (
        worker["resources"]["limits"]["nvidia.com/gpu"]
        == worker["resources"]["requests"]["nvidia.com/gpu"]
        == "1"
    )
    assert {"name": "weights", "mountPath": "/var/cache/reactor"} in worker["volumeMounts"]


def test_the_settings_of_a_pod_are_those_of_the_server_or_of_ray(pods: dict[str, dict[str, Any]]) -> None:
    known = {f"REACTOR_{name.upper()}" for name in Settings.model_fields}
    for pod in pods.values():
        names = {each["name"] for each in pod["containers"][0]["env"]}
        assert {name for name in names if name.startswith("REACTOR_")} <= known
        assert "REACTOR_TOKEN" in names
