"""Publishing: versions that never change, publishers that race or die, folders that cannot be published."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.faulty_proxy import CLEAN, Fault, FaultyProxy

from reactor_runtime.errors import ReactorError, StoreRefused, WeightsMissing, WeightsPublished
from reactor_runtime.weights import publish as publishing
from reactor_runtime.weights.publish import push
from reactor_runtime.weights.store import Store, open_store

from .conftest import HASTY, MIB, MakeRegistry, aws, same_content, write_files

pytestmark = pytest.mark.slow


def test_versions_count_up_and_the_pointer_follows(store: Store, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "a", {"model.pt": 1000})
    assert push(store, "LongLive", folder).index.version == "1.0.0"
    assert push(store, "LongLive", folder).index.version == "1.0.1"
    done = push(store, "LongLive@0.9", folder)
    assert (done.index.version, done.latest) == ("0.9", "1.0.1")


def test_a_published_version_is_never_changed(store: Store, registry: MakeRegistry, tmp_path: Path) -> None:
    first, second = write_files(tmp_path / "a", {"m": 1000}), write_files(tmp_path / "b", {"m": 900}, seed=2)
    push(store, "LongLive@1.0.0", first)
    for reference in ("LongLive@1.0.0", "LongLive@1.0", "LongLive@v1"):
        with pytest.raises(WeightsPublished, match=r"never change(.|\n)*LongLive@1.0.1"):
            push(store, reference, second, take_over=True)
    assert same_content(first, registry().pull("LongLive").path)


def test_a_push_that_died_goes_on_from_the_same_folder_and_from_no_other(
    store: Store, registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = (
        write_files(tmp_path / "a", {"m": 1000, "n": 10}),
        write_files(tmp_path / "b", {"m": 1000}, seed=2),
    )

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_create_index", die)
        with pytest.raises(KeyboardInterrupt):
            push(store, "LongLive@1.0.0", folder)
    with pytest.raises(WeightsMissing):
        registry().pull("LongLive")
    with pytest.raises(WeightsPublished, match="--take-over"):
        push(store, "LongLive@1.0.0", other)
    push(store, "LongLive@1.0.0", folder)
    assert same_content(folder, registry().pull("LongLive").path)


def test_a_dead_push_can_be_taken_over_on_purpose(
    store: Store, registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = (
        write_files(tmp_path / "a", {"m": 1000, "n": 10}),
        write_files(tmp_path / "b", {"m": 1000}, seed=2),
    )

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_compare", die)
        with pytest.raises(KeyboardInterrupt):
            push(store, "LongLive@1.0.0", folder)
    push(store, "LongLive@1.0.0", other, take_over=True)
    assert same_content(other, registry().pull("LongLive").path)


def test_a_push_that_died_before_the_pointer_is_finished_by_the_next(store: Store, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "a", {"m": 1000})
    push(store, "LongLive@1.0.0", folder)
    store.replace("LongLive/reactor-latest.json", b"garbage")
    with pytest.raises(WeightsPublished):
        push(store, "LongLive@1.0.0", folder)
    assert json.loads(store.read("LongLive/reactor-latest.json")[0]) == {"version": "1.0.0"}


def test_two_publishers_of_one_version_make_one_of_them(
    store: Store, registry: MakeRegistry, tmp_path: Path
) -> None:
    folders = [
        write_files(tmp_path / name, {"m": 100_000, name: 5}, seed=seed) for seed, name in enumerate("ab")
    ]
    results: list[object] = [None, None]

    def publish_one(number: int) -> None:
        try:
            results[number] = push(store, "LongLive@1.0.0", folders[number])
        except ReactorError as error:
            results[number] = error

    threads = [threading.Thread(target=publish_one, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number in (0, 1) if not isinstance(results[number], ReactorError)]
    assert len(winners) == 1
    assert isinstance(results[1 - winners[0]], WeightsPublished)
    assert same_content(folders[winners[0]], registry().pull("LongLive").path)


def test_a_file_that_changes_while_it_is_published_stops_the_push(
    store: Store, registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_files(tmp_path / "a", {"m": 1000})
    files = publishing.folder_files(folder)
    (folder / "m").write_bytes(b"other")
    monkeypatch.setattr(publishing, "folder_files", lambda folder: files)
    with pytest.raises(WeightsMissing, match="changed while"):
        push(store, "LongLive@1.0.0", folder)
    with pytest.raises(WeightsMissing):
        registry().pull("LongLive")


def test_a_large_file_is_uploaded_in_parts(store: Store, registry: MakeRegistry, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "a", {"large": 20 * MIB + 5})
    seen: list[int] = []
    push(store, "LongLive", folder, report=lambda progress: seen.append(progress.done_bytes))
    assert seen[-1] == 20 * MIB + 5
    assert same_content(folder, registry().pull("LongLive").path)


def test_a_push_survives_a_store_that_fails_now_and_then(
    bucket: str, proxy: FaultyProxy, registry: MakeRegistry, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "a", {"m": 300_000, "n": 1000, "o": 50_000})
    spoilt = open_store(f"s3://{bucket}/weights", environ=aws(proxy.port), patience=HASTY)
    failed = [3]

    def now_and_then(number: int) -> Fault:
        if number > 3 and failed[0]:
            failed[0] -= 1
            return Fault(status=503)
        return CLEAN

    proxy.faults = now_and_then
    try:
        push(spoilt, "LongLive@1.0.0", folder)
    except ReactorError:
        # The small requests are not repeated; the push is.
        push(spoilt, "LongLive@1.0.0", folder)
    assert same_content(folder, registry().pull("LongLive").path)


def test_links_to_files_are_followed_hidden_files_left_out_and_the_rest_refused(tmp_path: Path) -> None:
    blobs = write_files(tmp_path / "blobs", {"x": 10})
    folder = write_files(tmp_path / "a", {"m": 5, ".git/config": 5, ".hidden": 5})
    (folder / "linked.safetensors").symlink_to(blobs / "x")
    assert [file.path for file in publishing.folder_files(folder)] == ["linked.safetensors", "m"]
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(WeightsMissing, match="gone is not a file"):
        publishing.folder_files(folder)
    (folder / "gone").unlink()
    (folder / "dir").symlink_to(blobs)
    with pytest.raises(WeightsMissing, match="link to a folder"):
        publishing.folder_files(folder)


@pytest.mark.parametrize("name", ["reactor-weights.json", "100%.pt", "späte.pt", "a\\b"])
def test_a_file_that_cannot_be_stored_everywhere_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(WeightsMissing):
        publishing.folder_files(tmp_path)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no files"):
        publishing.folder_files(tmp_path)
    with pytest.raises(WeightsMissing, match="not a folder"):
        publishing.folder_files(tmp_path / "none")


def test_a_misspelt_registry_folder_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="correct REACTOR_REGISTRY"):
        open_store(str(tmp_path / "wieghts"))
    assert not (tmp_path / "wieghts").exists()


@pytest.mark.parametrize(
    "address", ["s3://key:secret@bucket/x", "ftp://host/x", "s3://", "https://h/p?sig=secret", "memory:///"]
)
def test_an_address_that_is_none_is_refused_without_repeating_a_secret(address: str) -> None:
    with pytest.raises(StoreRefused) as raised:
        open_store(address)
    assert raised.value.setting == "REACTOR_REGISTRY"
    assert "secret" not in str(raised.value)
