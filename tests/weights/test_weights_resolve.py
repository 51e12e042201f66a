"""Where `VideoModel.weights(name)` looks, in which order, and what the model process may ask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor_runtime import VideoModel
from reactor_runtime.errors import WeightsCorrupt, WeightsMissing
from reactor_runtime.weights import resolve
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.resolve import Fetched, fetch_listed, local_folder, without_credentials
from reactor_runtime.weights.store import Store
from reactor_runtime.weights.transfer import Transfer

from .conftest import publish, same_content, write_files


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REACTOR_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("REACTOR_CACHE", str(tmp_path / "cache"))
    yield
    resolve.release()


def test_an_override_comes_first_then_the_folder_beside_then_the_registry(
    folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = write_files(tmp_path / "source", {"m": 10})
    publish(folder_store, "LongLive@1.0.0", published)
    from_registry = VideoModel.weights("LongLive")
    assert from_registry.is_relative_to(tmp_path / "cache")
    assert same_content(published, from_registry)
    beside = write_files(tmp_path / "weights/LongLive", {"m": 5})
    assert VideoModel.weights("LongLive") == beside
    override = write_files(tmp_path / "elsewhere", {"m": 5})
    monkeypatch.setenv("REACTOR_WEIGHTS_LONGLIVE", str(override))
    assert VideoModel.weights("LongLive@1.0.0") == override


def test_the_folder_beside_the_manifest_counts_and_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "weights/LongLive", {"m": 5})
    mine = write_files(tmp_path / "project/weights/LongLive", {"m": 5})
    resolve.look_beside(tmp_path / "project")
    assert VideoModel.weights("LongLive") == mine


def test_a_name_that_nobody_has_says_what_to_do(folder_store: Store) -> None:
    words = r"is empty(.|\n)*\./weights/Nothing-Here(.|\n)*weights push(.|\n)*REACTOR_REGISTRY"
    with pytest.raises(WeightsMissing, match=words):
        VideoModel.weights("Nothing-Here")


def test_a_name_that_is_a_path_is_refused_before_anything_is_looked_at() -> None:
    with pytest.raises(WeightsMissing, match="not a name"):
        VideoModel.weights("../weights")


def test_an_override_that_is_no_folder_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="REACTOR_WEIGHTS_AB"):
        local_folder("ab", environ={"REACTOR_WEIGHTS_AB": str(tmp_path / "none")})
    (tmp_path / "weights/ab").mkdir(parents=True)
    with pytest.raises(WeightsMissing, match="is empty"):
        local_folder("ab", environ={})


def test_an_incomplete_copy_of_a_published_folder_is_never_taken(folder_store: Store, tmp_path: Path) -> None:
    publish(folder_store, "ab@1.0", write_files(tmp_path / "source", {"m": 10, "n": 5}))
    copied = VideoModel.weights("ab")
    target = write_files(tmp_path / "weights/ab", {"m": 10})
    (target / "reactor-weights.json").write_bytes((copied / "reactor-weights.json").read_bytes())
    with pytest.raises(WeightsCorrupt, match="incomplete copy: 'n'"):
        VideoModel.weights("ab")


def test_a_folder_of_another_case_is_another_name(tmp_path: Path) -> None:
    write_files(tmp_path / "weights/longlive", {"m": 1})
    assert local_folder("LongLive", environ={}) is None


def test_the_server_fetches_what_the_manifest_lists_and_tells_how_far_it_is(
    folder_store: Store, tmp_path: Path
) -> None:
    publish(folder_store, "LongLive@1.0.0", write_files(tmp_path / "a", {"m": 10}))
    publish(folder_store, "Wan2_1_VAE@2.0", write_files(tmp_path / "b", {"m": 20}))
    local = write_files(tmp_path / "project/weights/Other", {"m": 1})
    seen: list[Transfer] = []
    source = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    folders = fetch_listed(
        ["LongLive", "Wan2_1_VAE@2.0", "Other"],
        source=source,
        beside=tmp_path / "project",
        report=seen.append,
        stop=threading.Event(),
    )
    source.close()
    assert folders["Other"] == local
    assert same_content(tmp_path / "b", folders["Wan2_1_VAE@2.0"])
    assert {progress.ref for progress in seen} == {"LongLive", "Wan2_1_VAE"}


def test_the_model_process_knows_what_was_fetched_and_asks_for_the_rest(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def ask(text: str) -> Path:
        asked.append(text)
        return Path("/fetched") / text

    fetched = Fetched({"LongLive": Path("/a"), "Wan2_1_VAE@2.0": Path("/b")}, ask)
    monkeypatch.setattr(resolve, "_script", resolve.Outlook(source=fetched))
    assert VideoModel.weights("LongLive") == Path("/a")
    assert VideoModel.weights("Wan2_1_VAE") == VideoModel.weights("Wan2_1_VAE@2.0") == Path("/b")
    assert not asked
    with caplog.at_level(logging.WARNING):
        assert VideoModel.weights("Unlisted") == VideoModel.weights("Unlisted") == Path("/fetched/Unlisted")
    assert asked == ["Unlisted"]
    assert "not in the manifest" in caplog.text
    assert VideoModel.weights("LongLive@9.0") == Path("/fetched/LongLive@9.0")


def test_a_model_process_gets_no_credentials() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_PROFILE": "p",
        "AZURE_STORAGE_KEY": "s",
        "GOOGLE_APPLICATION_CREDENTIALS": "/x",
        "REACTOR_TOKEN": "t",
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "REACTOR_WEIGHTS_AB": "/w",
    }
    assert set(without_credentials(environ)) == {"PATH", "CUDA_VISIBLE_DEVICES", "REACTOR_WEIGHTS_AB"}
