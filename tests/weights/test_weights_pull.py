"""From a published folder to a verified one in the cache, without faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from reactor_runtime import limits
from reactor_runtime.errors import WeightsMissing
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.store import Store
from reactor_runtime.weights.transfer import Transfer

from .conftest import MIB, MakeRegistry, leftovers, publish, same_content, write_files

pytestmark = pytest.mark.slow

SIZES = {"model.safetensors": 3 * MIB + 17, "vae/decoder.pt": 700_001, "config.json": 412, "empty.txt": 0}


def test_a_published_folder_arrives_complete_in_the_cache(
    store: Store, registry: MakeRegistry, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "source", SIZES)
    publish(store, "LongLive@1.0.0", source)
    seen: list[Transfer] = []
    pulled = registry().pull("LongLive", report=seen.append)
    assert same_content(source, pulled.path)
    assert pulled.verified
    assert pulled.note == ""
    assert pulled.received_bytes == sum(SIZES.values())
    assert seen[-1].phase == "done"
    assert not leftovers(tmp_path / "cache")


def test_large_files_arrive_in_pieces(
    store: Store, registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEIGHTS_PIECE_BYTES", 256 * 1024)
    source = write_files(tmp_path / "source", SIZES)
    publish(store, "LongLive@1.0.0", source)
    pulled = registry().pull("LongLive")
    assert same_content(source, pulled.path)
    assert pulled.received_bytes == sum(SIZES.values())


def test_a_folder_registry_works_without_any_setting_up(folder_store: Store, tmp_path: Path) -> None:
    source = write_files(tmp_path / "source", SIZES)
    publish(folder_store, "LongLive", source)
    one = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    pulled = one.pull("LongLive@1.0")
    one.close()
    assert same_content(source, pulled.path)
    assert str(pulled.ref) == "LongLive@1.0.0"


def test_a_plain_folder_of_the_bucket_is_readable_and_says_that_it_is_unverified(
    store: Store, registry: MakeRegistry, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "source", SIZES)
    for path in SIZES:
        store.replace(f"LongLive/{path}", (source / path).read_bytes())
    pulled = registry().pull("LongLive")
    assert same_content(source, pulled.path)
    assert not pulled.verified
    assert "no index" in pulled.note
    again = registry().pull("LongLive")
    assert (again.path, again.received_bytes) == (pulled.path, 0)
    store.replace("LongLive/config.json", b"another")
    third = registry().pull("LongLive")
    assert third.path != pulled.path
    assert (third.path / "config.json").read_bytes() == b"another"


def test_an_unknown_name_says_what_the_registry_has(
    store: Store, registry: MakeRegistry, tmp_path: Path
) -> None:
    publish(store, "LongLive@1.0.0", write_files(tmp_path / "source", {"a": 1}))
    with pytest.raises(WeightsMissing, match=r"no weights 'Wan2_1_VAE'. It has LongLive"):
        registry().pull("Wan2_1_VAE")
    with pytest.raises(WeightsMissing, match=r"It has the versions 1.0.0"):
        registry().pull("LongLive@2.0")


def test_the_newest_version_is_the_newest_as_a_version(
    store: Store, registry: MakeRegistry, tmp_path: Path
) -> None:
    for version in ("1.9.0", "1.10.0", "2.0rc1"):
        publish(store, f"LongLive@{version}", write_files(tmp_path / version, {"v.txt": len(version)}))
    assert registry().pull("LongLive").ref.version == "1.10.0"
    assert registry().pull("LongLive@2.0rc1").ref.version == "2.0rc1"
    publish(store, "LongLive@1.9.5", write_files(tmp_path / "late", {"v.txt": 9}))
    assert registry().pull("LongLive").ref.version == "1.10.0"
    store.delete("LongLive/reactor-latest.json")
    assert registry(cache=tmp_path / "other").pull("LongLive").ref.version == "1.10.0"
