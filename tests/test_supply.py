"""The manifest's weights are there before the model loads, and the model process never sees a credential."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.server import running, write_model

pytestmark = pytest.mark.slow

MODEL = """
    import os
    import numpy as np
    from reactor_runtime import VideoModel

    class Model(VideoModel):
        def __init__(self):
            for name in ("Listed", "Unlisted"):
                print(name, "is", (VideoModel.weights(name) / "model.txt").read_text())
            print("SECRETS", [name for name in os.environ if name.startswith("AWS_")])

        def start_session(self):
            while True:
                yield np.zeros((64, 64, 3), np.uint8)
"""

REACTOR = str(Path(sys.executable).with_name("reactor"))


def push(name: str, text: str, *, registry: Path, scratch: Path) -> None:
    folder = scratch / f"{name}-files"
    folder.mkdir()
    (folder / "model.txt").write_text(text)
    subprocess.run([REACTOR, "weights", "push", name, str(folder), "--registry", str(registry)], check=True)


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, str]:
    """A folder registry with both names, as the environment of `reactor run`."""
    registry = tmp_path / "registry"
    registry.mkdir()
    push("Listed", "listed weights", registry=registry, scratch=tmp_path)
    push("Unlisted", "unlisted weights", registry=registry, scratch=tmp_path)
    return {
        "REACTOR_REGISTRY": str(registry),
        "REACTOR_CACHE": str(tmp_path / "cache"),
        "AWS_SECRET_ACCESS_KEY": "not for the model",
    }


@pytest.mark.parametrize("flags", [(), ("--inline",)], ids=["process", "inline"])
def test_listed_weights_come_before_the_model_and_others_when_it_asks(
    tmp_path: Path, stores: dict[str, str], flags: tuple[str, ...]
) -> None:
    folder = write_model(tmp_path / "project", MODEL, weights=["Listed"])
    with running(folder, *flags, env=stores) as run:
        assert run.health()["state"] == "available"
        assert "Listed is listed weights" in run.text
        assert "Unlisted is unlisted weights" in run.text
        assert "not for the model" not in run.text
        if not flags:
            assert "SECRETS []" in run.text


def test_what_was_fetched_once_serves_without_the_registry(tmp_path: Path, stores: dict[str, str]) -> None:
    folder = write_model(tmp_path / "project", MODEL, weights=["Listed", "Unlisted"])
    with running(folder, env=stores) as run:
        assert run.health()["state"] == "available"
    (tmp_path / "registry").rename(tmp_path / "gone")
    with running(folder, env=stores) as run:
        assert run.health()["state"] == "available"
        assert "Unlisted is unlisted weights" in run.text


def test_weights_that_are_nowhere_are_one_readable_mistake(tmp_path: Path, stores: dict[str, str]) -> None:
    folder = write_model(tmp_path / "project", MODEL, weights=["Nowhere"])
    with running(folder, env=stores, ready=False) as run:
        assert run.process.wait(60) == 2
        run.wait_for(lambda: "Fix" in run.text, "the reason")
    assert "Nowhere" in run.text
    assert "Traceback" not in run.text


def test_a_name_that_the_registry_lacks_is_told_at_the_authors_line(
    tmp_path: Path, stores: dict[str, str]
) -> None:
    source = MODEL.replace('"Unlisted"', '"Missing"')
    folder = write_model(tmp_path / "project", source, weights=["Listed"])
    with running(folder, env=stores, ready=False) as run:
        assert run.process.wait(60) == 2
        run.wait_for(lambda: "Missing" in run.text, "the reason")
