"""What the cache keeps: damage found at every start, repair, links, use, collection."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor_runtime.errors import WeightsCorrupt
from reactor_runtime.weights.cache import Cache, Kept, due_for_collection
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.store import Store

from .conftest import leftovers, publish, publish_writable, same_content, write_files

SIZES = {"model.safetensors": 60_000, "vae/decoder.pt": 30_000, "config.json": 412}


@pytest.fixture
def source(folder_store: Store, tmp_path: Path) -> Path:
    folder = write_files(tmp_path / "source", SIZES)
    publish_writable(folder_store, "LongLive@1.0.0", folder)
    return folder


@pytest.fixture
def registry(folder_store: Store, source: Path, tmp_path: Path) -> Iterator[Registry]:
    one = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    yield one
    one.close()


def _flip(path: Path, bit: int, *, hide: bool) -> None:
    before = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    if hide:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
def test_each_of_a_thousand_flipped_bits_is_found(registry: Registry) -> None:
    path = registry.pull("LongLive").path
    dice = random.Random(7)
    for number in range(1000):
        name = dice.choice(list(SIZES))
        bit = dice.randrange(SIZES[name] * 8)
        hide = number % 2 == 0
        _flip(path / name, bit, hide=hide)
        # A start sees it by the file's time, `weights verify` also when the time was put back.
        found = (
            registry.cache.audit("LongLive", "1.0.0") if hide else registry.cache.find("LongLive", "1.0.0")
        )
        assert found is not None
        assert found.damaged == (name,)
        _flip(path / name, bit, hide=False)
        again = registry.cache.find("LongLive", "1.0.0")
        assert again is not None
        assert not again.damaged


def _truncate(path: Path) -> None:
    os.truncate(path / "model.safetensors", 100)


def _swap(path: Path) -> None:
    (path / "config.json").rename(path / "x")
    (path / "vae/decoder.pt").rename(path / "config.json")
    (path / "x").rename(path / "vae/decoder.pt")


def _remove(path: Path) -> None:
    (path / "vae/decoder.pt").unlink()


def _link(path: Path) -> None:
    (path / "config.json").rename(path.parent.parent.parent / "elsewhere")
    (path / "config.json").symlink_to(path.parent.parent.parent / "elsewhere")


def _link_folder(path: Path) -> None:
    (path / "vae").rename(path.parent.parent.parent / "vae-elsewhere")
    (path / "vae").symlink_to(path.parent.parent.parent / "vae-elsewhere")


def _receipt(path: Path) -> None:
    (path / "reactor-weights.json").write_bytes(b"{")


def _folder_instead(path: Path) -> None:
    (path / "config.json").unlink()
    (path / "config.json").mkdir()


DAMAGE = [_truncate, _swap, _remove, _link, _link_folder, _receipt, _folder_instead]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.strip("_"))
def test_a_broken_folder_is_never_taken_for_a_good_one_and_is_repaired(
    damage: object, registry: Registry, source: Path, tmp_path: Path
) -> None:
    path = registry.pull("LongLive").path
    assert callable(damage)
    damage(path)
    found = registry.cache.find("LongLive", "1.0.0")
    assert found is None or found.damaged
    pulled = registry.pull("LongLive@1.0.0")
    assert same_content(source, pulled.path)
    assert not any(part.is_symlink() for part in pulled.path.rglob("*"))
    assert not leftovers(tmp_path / "cache")


def test_repair_fetches_only_what_is_damaged_and_keeps_the_damaged_file_for_a_while(
    registry: Registry, source: Path, tmp_path: Path
) -> None:
    path = registry.pull("LongLive").path
    _flip(path / "config.json", 5, hide=False)
    assert registry.pull("LongLive").received_bytes == SIZES["config.json"]
    assert [one.name for one in (tmp_path / "cache/quarantine").iterdir()] == [
        "LongLive+11@1.0.0@config.json"
    ]
    registry.cache.clear_rubbish()
    assert list((tmp_path / "cache/quarantine").iterdir())
    registry.cache.clear_rubbish(older_than_s=0)
    assert not list((tmp_path / "cache/quarantine").iterdir())


def test_damage_that_the_store_cannot_repair_is_an_error_and_not_a_folder(
    registry: Registry, folder_store: Store
) -> None:
    path = registry.pull("LongLive").path
    _flip(path / "config.json", 5, hide=False)
    folder_store.replace("LongLive/1.0.0/config.json", bytes(412))
    with pytest.raises(WeightsCorrupt, match=r"config\.json"):
        registry.pull("LongLive")
    assert registry.cache.find("LongLive", "1.0.0") is None


def test_a_copied_cache_is_taken_after_one_look_at_its_content(registry: Registry, source: Path) -> None:
    path = registry.pull("LongLive").path
    os.utime(path / "config.json", (1, 1))
    assert registry.pull("LongLive").received_bytes == 0
    assert same_content(source, path)


def test_published_files_are_read_only(registry: Registry) -> None:
    path = registry.pull("LongLive").path
    assert {(path / name).stat().st_mode & 0o777 for name in SIZES} == {0o444}


def test_two_names_that_differ_in_case_are_two(
    folder_store: Store, registry: Registry, tmp_path: Path
) -> None:
    other = write_files(tmp_path / "other", {"a": 10})
    publish(folder_store, "longlive@1.0.0", other)
    assert same_content(other, registry.pull("longlive").path)
    assert same_content(tmp_path / "source", registry.pull("LongLive").path)


def test_a_link_in_an_unfinished_download_is_not_written_through(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    from reactor_runtime.weights import partial

    begin = partial.Partial.begin

    def plant(self: partial.Partial, files: object) -> None:
        begin(self, files)  # type: ignore[arg-type]
        (self.files / "config.json").symlink_to(victim)

    monkeypatch.setattr(partial.Partial, "begin", plant)
    with pytest.raises(OSError, match="symbolic links"):
        registry.pull("LongLive")
    assert victim.read_text() == "mine"


# Collection ----------------------------------------------------------------------------------------


def _kept(name: str, *, used_s: float, size: int = 10, in_use: bool = False) -> Kept:
    return Kept(name, "1.0", Path(name), size, used_s, in_use, verified=True)


@pytest.mark.parametrize(
    ("max_age_s", "max_bytes", "removed"),
    [
        (None, None, ""),
        (50, None, "a"),
        (None, 25, "ac"),
        (None, 0, "acd"),
        (1000, 30, "a"),
        (50, 30, "a"),
        (0, None, "acd"),
    ],
)
def test_the_longest_unused_goes_first_and_what_is_in_use_stays(
    max_age_s: float | None, max_bytes: int | None, removed: str
) -> None:
    kept = [
        _kept("d", used_s=90),
        _kept("b", used_s=20, in_use=True),
        _kept("a", used_s=10),
        _kept("c", used_s=60),
    ]
    due = due_for_collection(kept, now_s=100, max_age_s=max_age_s, max_bytes=max_bytes)
    assert "".join(one.name for one in due) == removed


def test_what_a_process_uses_cannot_be_removed_until_it_lets_go(registry: Registry) -> None:
    registry.pull("LongLive")
    (kept,) = registry.cache.kept()
    assert kept.in_use
    assert time.time() - kept.used_s < 60
    assert not registry.cache.remove(kept)
    registry.close()
    (kept,) = registry.cache.kept()
    assert not kept.in_use
    assert registry.cache.remove(kept)
    assert list(registry.cache.kept()) == []
    assert registry.pull("LongLive").received_bytes == sum(SIZES.values())


def test_the_receipt_says_where_it_came_from(registry: Registry, folder_store: Store) -> None:
    path = registry.pull("LongLive").path
    receipt = json.loads((path / "reactor-weights.json").read_bytes())
    assert receipt["registry"] == folder_store.address
    assert receipt["verified"] is True
    assert [file["path"] for file in receipt["files"]] == sorted(SIZES)


# A registry on the same disk ----------------------------------------------------------------------


def test_a_registry_on_the_same_disk_is_shared_and_not_copied(folder_store: Store, tmp_path: Path) -> None:
    source = write_files(tmp_path / "s", SIZES)
    publish(folder_store, "Shared@1.0.0", source)
    one = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    path = one.pull("Shared").path
    one.close()
    assert same_content(source, path)
    for name in SIZES:
        assert (path / name).samefile(tmp_path / "registry/Shared/1.0.0" / name)


def test_a_shared_file_that_was_changed_in_the_registry_is_found_and_never_taken(
    folder_store: Store, tmp_path: Path
) -> None:
    publish(folder_store, "Shared@1.0.0", write_files(tmp_path / "s", SIZES))
    one = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    one.pull("Shared")
    _flip(tmp_path / "registry/Shared/1.0.0/config.json", 9, hide=False)
    (tmp_path / "registry/Shared/1.0.0/config.json").chmod(0o444)
    with pytest.raises(WeightsCorrupt, match=r"config\.json"):
        one.pull("Shared")
    one.close()


def test_a_version_removed_from_the_registry_stays_in_the_cache(folder_store: Store, tmp_path: Path) -> None:
    source = write_files(tmp_path / "s", SIZES)
    publish(folder_store, "Shared@1.0.0", source)
    one = Registry(folder_store.address, cache=Cache(tmp_path / "cache"))
    one.pull("Shared")
    shutil.rmtree(tmp_path / "registry/Shared")
    assert same_content(source, one.pull("Shared@1.0.0").path)
    one.close()
