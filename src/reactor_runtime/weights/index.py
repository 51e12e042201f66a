"""What one version contains: the index beside its files in the store, and the receipt in the cache.

    store   <name>/<version>/reactor-weights.json    an Index: path, size and SHA-256 of every file
    cache   <version>/reactor-weights.json           a Receipt: the same, and each file's time on this disk

An index is published last and never changes, so what it lists is complete. A plain folder has none: its
listing (size and ETag) stands in, and nobody vouches for the content. Pure: bytes in, values out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import limits
from ..errors import WeightsCorrupt, WeightsMissing
from . import names

FORMAT = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0, le=2**53)]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a version in the store. `sha256` None: nobody vouches for it; `etag` None: not known."""

    path: str
    size: int
    sha256: str | None = None
    etag: str | None = None

    def now(self, *, size: int, etag: str | None) -> RemoteFile:
        return replace(self, size=size, etag=etag)


class FileEntry(BaseModel):
    """One file of an index."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    size: Bytes
    sha256: Sha256


class Index(BaseModel):
    """Everything one published version consists of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    name: str
    version: str
    created: str = Field(max_length=64)
    total_bytes: Bytes
    files: tuple[FileEntry, ...] = Field(max_length=limits.WEIGHTS_FILES_MAX)

    @classmethod
    def of(cls, name: str, version: str, files: Iterable[FileEntry], *, created: str) -> Index:
        ordered = tuple(sorted(files, key=lambda entry: entry.path))
        names.check_paths(entry.path for entry in ordered)
        total = sum(entry.size for entry in ordered)
        return cls(name=name, version=version, created=created, total_bytes=total, files=ordered)

    @classmethod
    def parse(cls, data: bytes, *, name: str, version: str) -> Index:
        """Read an index that must be the one of this version. Raises WeightsCorrupt for anything else."""
        where = f"the index of {name}@{version}"
        try:
            index = cls.model_validate_json(data)
            names.check_paths(entry.path for entry in index.files)
        except ValidationError as error:
            raise WeightsCorrupt(
                f"{where} cannot be read: {_first(error)}.\n  Fix: publish the weights again."
            ) from None
        except WeightsMissing as error:
            raise WeightsCorrupt(f"{where} cannot be used: {error}") from None
        if index.format != FORMAT:
            raise WeightsCorrupt(
                f"{where} has format {index.format}; this version of the runtime reads {FORMAT}."
            )
        if (index.name, index.version) != (name, version):
            raise WeightsCorrupt(f"{where} says that it belongs to {index.name}@{index.version}.")
        if index.total_bytes != sum(entry.size for entry in index.files):
            raise WeightsCorrupt(f"{where} contradicts itself: total_bytes is not the sum of its files.")
        return index

    def to_bytes(self) -> bytes:
        return canonical(self)

    def remote(self) -> tuple[RemoteFile, ...]:
        return tuple(RemoteFile(entry.path, entry.size, entry.sha256) for entry in self.files)


class ReceiptFile(FileEntry):
    mtime_ns: int


class Receipt(BaseModel):
    """What a published folder of the cache remembers. `verified`: an index vouched for every file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    name: str
    version: str
    registry: str
    verified: bool
    total_bytes: Bytes
    files: tuple[ReceiptFile, ...]

    @classmethod
    def parse(cls, data: bytes) -> Receipt | None:
        """Read a receipt; None when it is damaged, which makes the folder one that was never finished."""
        try:
            receipt = cls.model_validate_json(data)
            names.check_paths(entry.path for entry in receipt.files)
        except (ValidationError, WeightsMissing):
            return None
        return receipt if receipt.format == FORMAT else None

    def to_bytes(self) -> bytes:
        return canonical(self)


class Latest(BaseModel):
    """The pointer to the newest version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str = Field(max_length=names.NAME_MAX)

    @classmethod
    def parse(cls, data: bytes) -> str | None:
        """Return the version it names, or None for a pointer that nobody can read."""
        try:
            return names.check_version(cls.model_validate_json(data).version)
        except (ValidationError, WeightsMissing):
            return None


def plain_version(files: Iterable[RemoteFile]) -> str:
    """Return the version id of a folder without an index: it changes whenever its listing does."""
    listing = sorted((file.path, file.size, file.etag or "") for file in files)
    return names.plain_version(hashlib.sha256(json.dumps(listing).encode()).hexdigest())


def fingerprint(files: Iterable[RemoteFile]) -> str:
    """Return what an unfinished download must share with `files` to be gone on with."""
    listing = sorted((file.path, file.size, file.sha256 or "") for file in files)
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def md5_of_etag(etag: str | None) -> str | None:
    """Return the MD5 that an ETag may be. Those of multipart uploads (`…-4`) are not one."""
    text = (etag or "").removeprefix("W/").strip('"').lower()
    return text if len(text) == 32 and all(c in "0123456789abcdef" for c in text) else None


def canonical(model: BaseModel) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, so that equal content is equal bytes."""
    return json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'text'}: {first['msg']}"


def sizes(data: bytes) -> dict[str, int]:
    """Return path and size of every file of an index or a receipt that someone copied along."""
    try:
        files = _Sizes.model_validate_json(data).files
        names.check_paths(entry.path for entry in files)
    except (ValidationError, WeightsMissing):
        raise WeightsCorrupt(
            f"{names.INDEX_FILE} cannot be read.\n  Fix: copy the folder again, or remove that file."
        ) from None
    return {entry.path: entry.size for entry in files}


class _Sizes(BaseModel):
    files: tuple[FileEntry, ...]
