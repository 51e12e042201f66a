"""A session's uploads: byte-exact, bounded, resolved for commands, freed at the end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reactor_runtime import limits
from reactor_runtime.errors import CommandRejected, LimitExceeded, SessionRefused
from reactor_runtime.session.uploads import Reservation, Uploads
from reactor_runtime.types import UploadedFile
from reactor_runtime.wire.messages import UploadReference


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def reserve(uploads: Uploads, size_bytes: int = 3, upload_id: str | None = None) -> Reservation:
    return uploads.reserve(name="cat.png", size_bytes=size_bytes, mime_type="image/png", upload_id=upload_id)


async def fill(uploads: Uploads, content: bytes = b"abc", upload_id: str | None = None) -> Reservation:
    slot = reserve(uploads, len(content), upload_id)
    await uploads.receive(slot.upload_id, slot.key, chunks(content))
    return slot


def named(upload_id: str) -> UploadReference:
    return UploadReference(upload_id, "client's word", "client/type", 999)


async def test_a_file_is_what_was_announced_and_sent_whatever_the_reference_claims() -> None:
    uploads = Uploads()
    slot = await fill(uploads)
    files = await uploads.resolve({"image": named(slot.upload_id)}, {})
    assert files == {"image": UploadedFile(slot.upload_id, "cat.png", "image/png", b"abc")}


async def test_references_inside_arguments_are_found_at_any_depth() -> None:
    uploads = Uploads()
    one, two = await fill(uploads, b"one"), await fill(uploads, b"two")

    def reference(slot: Reservation) -> dict[str, Any]:
        return {"upload_id": slot.upload_id, "name": "n", "mime_type": "m", "size": 3, "more": 1}

    arguments = {"scene": {"layers": [{"image": reference(one)}, 7]}, "mask": reference(two), "text": "x"}
    files = await uploads.resolve({}, arguments)
    assert {key: file.data for key, file in files.items()} == {one.upload_id: b"one", two.upload_id: b"two"}


def test_who_drives_has_room_whatever_others_have_reserved() -> None:
    uploads = Uploads()
    driver, other, beside = ("driver",), ("other",), ("beside",)

    def reserve(owner: tuple[str, ...], size_bytes: int = 1) -> Reservation:
        drivers = (driver, beside)
        return uploads.reserve(name="a", size_bytes=size_bytes, mime_type="a/b", owner=owner, drivers=drivers)

    for _ in range(limits.UPLOADS_PER_SESSION):
        reserve(other)
    mine = [reserve(driver) for _ in range(limits.UPLOADS_PER_SESSION - 1)]
    reserve(beside)
    for owner in (driver, beside, other):
        with pytest.raises(LimitExceeded):
            reserve(owner)
    assert len(
        {each.upload_id for each in mine} & {slot.upload_id for slot in uploads._slots.values()}
    ) == len(mine)
    uploads.clear()
    for _ in range(limits.UPLOADS_MAX_BYTES // limits.UPLOAD_MAX_BYTES):
        reserve(other, limits.UPLOAD_MAX_BYTES)
    reserve(driver, limits.UPLOAD_MAX_BYTES)
    assert sum(slot.size_bytes for slot in uploads._slots.values()) == limits.UPLOADS_MAX_BYTES


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda text: text.replace("-", ""), lambda text: text.replace("-", "").upper()]
)
async def test_an_id_is_the_same_with_and_without_dashes(spelling: Any) -> None:
    uploads = Uploads()
    slot = await fill(uploads)
    files = await uploads.resolve({"image": named(spelling(slot.upload_id))}, {})
    assert files["image"].data == b"abc"


async def test_a_command_waits_for_bytes_that_are_on_their_way() -> None:
    uploads = Uploads()
    slot = reserve(uploads)
    resolving = asyncio.create_task(uploads.resolve({"image": named(slot.upload_id)}, {}))
    await asyncio.sleep(0)
    assert not resolving.done()
    await uploads.receive(slot.upload_id, slot.key, chunks(b"a", b"", b"bc"))
    assert (await resolving)["image"].data == b"abc"


@pytest.mark.parametrize(
    ("known", "wait_s", "message"), [(False, 9.0, "no upload"), (True, 0.01, "did not arrive within 0.01 s")]
)
async def test_an_upload_that_is_unknown_or_late_refuses_the_command_by_parameter(
    known: bool, wait_s: float, message: str
) -> None:
    uploads = Uploads()
    upload_id = reserve(uploads).upload_id if known else "nothing"
    reference = {"upload_id": upload_id, "name": "n", "mime_type": "m", "size": 3}
    with pytest.raises(CommandRejected, match=message) as rejected:
        await uploads.resolve({}, {"layers": [{"image": reference}]}, wait_s=wait_s)
    assert (rejected.value.code, rejected.value.field) == ("unresolved_upload", "layers.0.image")


async def test_the_same_bytes_cannot_be_written_twice_nor_by_two_at_once() -> None:
    uploads = Uploads()
    slot = reserve(uploads)
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"ab"
        await gate.wait()
        yield b"c"

    first = asyncio.create_task(uploads.receive(slot.upload_id, slot.key, slow()))
    await asyncio.sleep(0)
    with pytest.raises(SessionRefused) as refused:
        await uploads.receive(slot.upload_id, slot.key, chunks(b"xyz"))
    assert refused.value.status == 409
    gate.set()
    await first
    with pytest.raises(SessionRefused) as refused:
        await uploads.receive(slot.upload_id, slot.key, chunks(b"xyz"))
    assert refused.value.status == 409
    assert (await uploads.resolve({"i": named(slot.upload_id)}, {}))["i"].data == b"abc"


async def test_a_broken_transfer_leaves_the_slot_to_be_filled_again() -> None:
    uploads = Uploads()
    slot = reserve(uploads)

    async def broken() -> AsyncIterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await uploads.receive(slot.upload_id, slot.key, broken())
    await uploads.receive(slot.upload_id, slot.key, chunks(b"abc"))


async def test_no_more_than_one_chunk_beyond_the_announced_size_is_read() -> None:
    uploads = Uploads()
    slot = reserve(uploads, 5)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"abcd"

    with pytest.raises(SessionRefused, match="expected 5 bytes") as refused:
        await uploads.receive(slot.upload_id, slot.key, endless())
    assert (refused.value.status, read) == (400, 2)


def test_slots_and_bytes_are_bounded_also_when_nothing_is_ever_written() -> None:
    uploads = Uploads()
    for _ in range(limits.UPLOADS_PER_SESSION):
        reserve(uploads, 1)
    with pytest.raises(LimitExceeded) as exceeded:
        reserve(uploads, 1)
    assert exceeded.value.limit == "UPLOADS_PER_SESSION"
    large = Uploads()
    for _ in range(limits.UPLOADS_MAX_BYTES // limits.UPLOAD_MAX_BYTES):
        reserve(large, limits.UPLOAD_MAX_BYTES)
    with pytest.raises(LimitExceeded) as exceeded:
        reserve(large, 1)
    assert exceeded.value.limit == "UPLOADS_MAX_BYTES"


@pytest.mark.parametrize("upload_id", ["", "../x", "a/b", "a b", "a\x00", "ä", "x" * 65, ".", "-", "--"])
def test_an_id_that_could_be_more_than_an_id_is_refused(upload_id: str) -> None:
    with pytest.raises(SessionRefused) as refused:
        reserve(Uploads(), upload_id=upload_id)
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:\\x", "a\x00b", "a\nb", "..", "😀"])
async def test_a_name_is_handed_on_as_text_and_nothing_else(name: str) -> None:
    uploads = Uploads()
    slot = uploads.reserve(name=name, size_bytes=1, mime_type="a/b")
    assert name not in (slot.upload_id, slot.key)
    await uploads.receive(slot.upload_id, slot.key, chunks(b"x"))
    assert (await uploads.resolve({"i": named(slot.upload_id)}, {}))["i"].name == name


async def test_closing_frees_the_bytes_and_fails_whoever_waits_or_comes_later() -> None:
    uploads = Uploads()
    slot = reserve(uploads)
    waiting = asyncio.create_task(uploads.resolve({"image": named(slot.upload_id)}, {}))
    await asyncio.sleep(0)
    uploads.close()
    uploads.close()
    with pytest.raises(CommandRejected):
        await waiting
    with pytest.raises(SessionRefused):
        reserve(uploads)
    with pytest.raises(SessionRefused):
        await uploads.receive(slot.upload_id, slot.key, chunks(b"abc"))


async def test_a_transfer_under_way_ends_with_the_session() -> None:
    uploads = Uploads()
    slot = reserve(uploads, 4)

    async def closes_midway() -> AsyncIterator[bytes]:
        yield b"ab"
        uploads.close()
        yield b"cd"

    with pytest.raises(SessionRefused):
        await uploads.receive(slot.upload_id, slot.key, closes_midway())


async def test_nothing_keeps_a_closed_session_s_slots_alive() -> None:
    uploads = Uploads()
    slot = await fill(uploads)
    [kept] = uploads._slots.values()
    done = weakref.ref(kept.done)
    del kept
    assert slot.key
    uploads.close()
    gc.collect()
    assert done() is None
