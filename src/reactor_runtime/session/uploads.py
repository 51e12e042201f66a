"""Files that clients upload for their commands: reserved, filled, referred to, freed with the session.

    POST uploads ──▶ reserve() ──▶ PUT ──▶ receive() ──▶ command ──▶ resolve() ──▶ UploadedFile

One `Uploads` per session, owned by it and used on the event loop. The bytes stay in memory: the limits
bound them to `limits.UPLOADS_MAX_BYTES` per session, and what is never written to a disk needs no path and
no sweeping. A client's file name is text that is handed on and never becomes a path.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from .. import codes, limits
from ..errors import CommandRejected, LimitExceeded, SessionRefused
from ..types import JsonObject, UploadedFile
from ..wire.messages import UploadReference
from .starters import Client

_UPLOAD_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_TEXT_MAX: Final = 255


@dataclass(slots=True)
class _Slot:
    """`data` is None until every announced byte has arrived."""

    upload_id: str
    key: str
    name: str
    mime_type: str
    size_bytes: int
    owner: Client
    receiving: bool = False
    data: bytes | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot as the client learns of it. `key` is the secret that makes the URL a permission to write."""

    upload_id: str
    key: str
    name: str


class Uploads:
    """A session's uploads, at most `limits.UPLOADS_PER_SESSION` and `limits.UPLOADS_MAX_BYTES` in all."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}
        self._closed = False

    def reserve(
        self,
        *,
        name: str,
        size_bytes: int,
        mime_type: str,
        upload_id: str | None = None,
        owner: Client = (),
        drivers: Collection[Client] = (),
    ) -> Reservation:
        """Reserve a slot for exactly `size_bytes`.

        Raises SessionRefused 400 for empty or unusable values, 409 for a taken id, and LimitExceeded. Of who drives no
        slot is taken over: a driver who reserves and never writes uses up his session's own share. For whom there is no
        room while he drives, the oldest slots go of those who do not.
        """
        self._check_open()
        if not name.strip() or not mime_type.strip() or size_bytes <= 0:
            raise SessionRefused("an upload needs a name, a mime_type and a size above 0", status=400)
        if len(name) > _TEXT_MAX or len(mime_type) > _TEXT_MAX:
            raise SessionRefused(f"name and mime_type may have {_TEXT_MAX} characters", status=400)
        if size_bytes > limits.UPLOAD_MAX_BYTES:
            raise LimitExceeded(
                f"an upload may have {limits.UPLOAD_MAX_BYTES} bytes, got {size_bytes}",
                limit="UPLOAD_MAX_BYTES",
            )
        if owner in drivers:
            self._make_room(size_bytes, drivers)
        if len(self._slots) >= limits.UPLOADS_PER_SESSION:
            raise LimitExceeded(
                f"a session may have {limits.UPLOADS_PER_SESSION} uploads", limit="UPLOADS_PER_SESSION"
            )
        if self._reserved_bytes + size_bytes > limits.UPLOADS_MAX_BYTES:
            raise LimitExceeded(
                f"the uploads of a session may have {limits.UPLOADS_MAX_BYTES} bytes together",
                limit="UPLOADS_MAX_BYTES",
            )
        if upload_id is None:
            upload_id = str(uuid4())
        elif not _UPLOAD_ID.fullmatch(upload_id):
            raise SessionRefused("an upload_id has letters, digits and dashes, at most 64", status=400)
        if _same(upload_id) in self._slots:
            raise SessionRefused("this upload_id is taken", status=409)
        slot = _Slot(upload_id, secrets.token_urlsafe(18), name, mime_type, size_bytes, owner)
        self._slots[_same(upload_id)] = slot
        return Reservation(upload_id, slot.key, name)

    @property
    def _reserved_bytes(self) -> int:
        return sum(slot.size_bytes for slot in self._slots.values())

    def _make_room(self, size_bytes: int, drivers: Collection[Client]) -> None:
        others = [key for key, slot in self._slots.items() if slot.owner not in drivers]
        while others and (
            len(self._slots) >= limits.UPLOADS_PER_SESSION
            or self._reserved_bytes + size_bytes > limits.UPLOADS_MAX_BYTES
        ):
            self._slots.pop(others.pop(0)).done.set()

    async def receive(self, upload_id: str, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Fill a slot with exactly the announced bytes, reading no more than one chunk beyond them.

        Raises SessionRefused: 404 for an unknown id or key, 409 when it is filled or being filled, 400 for
        any other count of bytes, after which the slot can be filled again.
        """
        self._check_open()
        slot = self._slots.get(_same(upload_id))
        if slot is None or not secrets.compare_digest(slot.key.encode(), key.encode()):
            raise SessionRefused("unknown upload", status=404)
        if slot.receiving or slot.data is not None:
            raise SessionRefused("this upload is already complete or being sent", status=409)
        slot.receiving = True
        data = bytearray()
        try:
            async for chunk in chunks:
                data += chunk
                if len(data) > slot.size_bytes:
                    raise SessionRefused(
                        f"expected {slot.size_bytes} bytes, got at least {len(data)}", status=400
                    )
                self._check_open()
        finally:
            slot.receiving = False
        if len(data) != slot.size_bytes:
            raise SessionRefused(f"expected {slot.size_bytes} bytes, got {len(data)}", status=400)
        self._check_open()
        if self._slots.get(_same(upload_id)) is not slot:
            raise SessionRefused("unknown upload", status=404)  # forgotten meanwhile
        slot.data = bytes(data)
        slot.done.set()

    async def resolve(
        self,
        uploads: Mapping[str, UploadReference],
        arguments: JsonObject,
        *,
        wait_s: float = limits.UPLOAD_WAIT_S,
    ) -> dict[str, UploadedFile]:
        """Return the files a command refers to: those of `uploads` by parameter, and those that its arguments
        hold as reference objects, at any depth, by upload id.

        Waits up to `wait_s` in all for bytes that are still on their way. Raises CommandRejected
        (`unresolved_upload`) naming the parameter.
        """
        try:
            async with asyncio.timeout(wait_s):
                for upload_id, path in _wanted(uploads, arguments).values():
                    await self._slot(upload_id, path).done.wait()
        except TimeoutError:
            raise CommandRejected(
                f"the bytes of upload {upload_id} did not arrive within {wait_s:g} s",
                code=codes.UNRESOLVED_UPLOAD,
                field=path,
            ) from None
        files = self.arrived(uploads, arguments)
        assert files is not None
        return files

    def arrived(
        self, uploads: Mapping[str, UploadReference], arguments: JsonObject
    ) -> dict[str, UploadedFile] | None:
        """Return what `resolve` returns if all of it is here, None while bytes are on their way.

        Raises CommandRejected (`unresolved_upload`) for an id that this session does not know.
        """
        files: dict[str, UploadedFile] = {}
        for key, (upload_id, path) in _wanted(uploads, arguments).items():
            slot = self._slot(upload_id, path)
            if slot.data is None:
                return None
            files[key] = UploadedFile(slot.upload_id, slot.name, slot.mime_type, slot.data)
        return files

    def clear(self) -> None:
        """Forget every upload and wake whoever waits for one; what comes from now on is kept as before."""
        for slot in self._slots.values():
            slot.done.set()
        self._slots.clear()

    def close(self) -> None:
        """Free every byte for good. May be called twice."""
        self._closed = True
        self.clear()

    def _slot(self, upload_id: str, path: str) -> _Slot:
        if self._closed:
            raise CommandRejected("the session has ended", code=codes.UNRESOLVED_UPLOAD, field=path)
        slot = self._slots.get(_same(upload_id))
        if slot is None:
            raise CommandRejected(
                f"no upload {upload_id!r} in this session", code=codes.UNRESOLVED_UPLOAD, field=path
            )
        return slot

    def _check_open(self) -> None:
        if self._closed:
            raise SessionRefused("No session running", status=400)


def _same(upload_id: str) -> str:
    """Clients write their UUIDs with or without dashes."""
    return upload_id.replace("-", "").lower()


def _wanted(uploads: Mapping[str, UploadReference], arguments: JsonObject) -> dict[str, tuple[str, str]]:
    """Return (upload_id, path) of each file a command refers to, by the key the model finds it under."""
    wanted = {name: (reference.upload_id, name) for name, reference in uploads.items()}
    for path, upload_id in references(arguments):
        wanted.setdefault(upload_id, (upload_id, path))
    return wanted


def references(value: JsonObject | list[Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, upload_id) for each object with the four keys of a reference, at any depth."""
    if isinstance(value, dict):
        if {"upload_id", "name", "mime_type", "size"} <= value.keys() and isinstance(value["upload_id"], str):
            yield path, value["upload_id"]
            return
        entries: Iterable[tuple[Any, Any]] = value.items()
    else:
        entries = enumerate(value)
    for key, item in entries:
        # Numbers and texts, of which a message may hold 100,000, cost no call.
        if isinstance(item, dict | list):
            yield from references(item, f"{path}.{key}" if path else str(key))
