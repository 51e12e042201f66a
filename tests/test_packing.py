"""The page is packed once for each content, and what was kept is believed only if it is that content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reactor_runtime import limits
from reactor_runtime.server import packing

brotli = pytest.importorskip("brotli")

pack = packing.CODINGS["br"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "reactor" / "page"


def test_a_content_is_packed_once_for_all_servers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pack(b"the page " * 99)
    assert brotli.decompress(first) == b"the page " * 99
    monkeypatch.setattr(packing, "_made", lambda content: pytest.fail("packed again"))
    assert pack(b"the page " * 99) == first
    (kept,) = folder.iterdir()
    assert kept.read_bytes() == first


@pytest.mark.parametrize("left", [b"", b"\x00", brotli.compress(b"another page")])
def test_what_is_kept_and_is_something_else_is_made_anew(folder: Path, left: bytes) -> None:
    first = pack(b"the page")
    (kept,) = folder.iterdir()
    kept.write_bytes(left)
    assert pack(b"the page") == kept.read_bytes() == first


def test_no_more_is_kept_than_its_limit_and_the_oldest_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PACKED_FILES_MAX", 3)
    for number in range(5):
        pack(b"page %d" % number)
        for file in folder.iterdir():
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
    assert {brotli.decompress(file.read_bytes()) for file in folder.iterdir()} == {
        b"page 2",
        b"page 3",
        b"page 4",
    }


def test_where_nothing_can_be_kept_the_page_is_packed_all_the_same(folder: Path) -> None:
    folder.parent.parent.joinpath("reactor").write_text("in the way")
    assert brotli.decompress(pack(b"the page")) == b"the page"
