"""The object store behind a registry's address: a folder, S3 and what speaks it, others the library brings.

    file:///mnt/weights, /mnt/weights      a folder, also on a network file system
    s3://bucket/prefix                     AWS environment and profiles; AWS_ENDPOINT_URL for compatible stores
    gs://  az://  https://                 as `obstore` has them (https can only be read, by exact version)

The only module that calls the storage library. Its own retries are off: `fetch` knows what progress is.
A store may be used by many threads. Everything raised is ours (store_errors.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, LocalStore, from_url

from .. import limits
from ..errors import StoreRefused
from . import credentials
from .own_folders import data_folder
from .patience import Patience
from .store_errors import Changed, Exists, Missing, RangeIgnored, Unavailable, refused, translate

if TYPE_CHECKING:
    from obstore import GetOptions

_T = TypeVar("_T")
_SCHEMES = {"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "https", "http"}
_LOCAL_CHUNK = 1024 * 1024
_UPLOAD_CHUNK = 8 * 1024 * 1024
#: S3 takes at most 10,000 parts of one upload.
_UPLOAD_PARTS = 9_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing."""

    key: str
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """An object, or a part of it, on its way. `chunks` raises as the store's methods do."""

    chunks: Iterator[bytes | memoryview]
    size: int
    """Of the whole object."""
    etag: str | None


class Store:
    """One opened registry address."""

    def __init__(self, backend: Any, address: str, *, folder: Path | None = None) -> None:
        self._backend = backend
        self._folder = folder
        self.address = address
        """For people: where this is, without anything secret."""

    @property
    def can_list(self) -> bool:
        return not isinstance(self._backend, HTTPStore)

    @property
    def is_local(self) -> bool:
        return self._folder is not None

    def under(self, prefix: str) -> list[Listed]:
        """Return every object under `prefix`, a few more than limits.WEIGHTS_FILES_MAX at most."""
        found: list[Listed] = []

        def collect() -> list[Listed]:
            for batch in obstore.list(self._backend, prefix):
                found.extend(Listed(meta["path"], meta["size"], meta["e_tag"]) for meta in batch)
                if len(found) > limits.WEIGHTS_FILES_MAX:
                    break
            return found

        return self._ask(collect)

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly under `prefix`, in their own spelling."""
        listing = self._ask(lambda: obstore.list_with_delimiter(self._backend, prefix or None))
        return [path.rsplit("/", 1)[-1] for path in listing["common_prefixes"]]

    def head(self, key: str) -> Listed:
        """Return size and ETag of one object. Raises Missing."""
        meta = self._ask(lambda: obstore.head(self._backend, key), Missing)
        return Listed(key, meta["size"], meta["e_tag"])

    def read(self, key: str, *, max_bytes: int = limits.WEIGHTS_INDEX_MAX_BYTES) -> tuple[bytes, str | None]:
        """Return a small object and its ETag. Raises Missing."""
        body = self._open(key, 0, None, None, Missing)
        if body.size > max_bytes:
            raise StoreRefused(
                f"{self.address}/{key} is too large for what it should be.", setting="REACTOR_REGISTRY"
            )
        return b"".join(bytes(chunk) for chunk in body.chunks), body.etag

    def open(self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None) -> Body:
        """Begin to read [start, end) of an object, of that very object when `etag` is given.

        Raises Missing, Changed, RangeIgnored, Unavailable, StoreRefused; so may the chunks.
        """
        return self._open(key, start, end, etag, Missing, Changed, RangeIgnored)

    def _open(
        self, key: str, start: int, end: int | None, etag: str | None, *expected: type[Exception]
    ) -> Body:
        if self._folder is not None:
            return self._open_file(self._folder / key, key, start=start, end=end, etag=etag)
        options: GetOptions = {"if_match": etag} if etag else {}
        if end is not None:
            options["range"] = (start, end)
        result = self._ask(lambda: obstore.get(self._backend, key, options=options), *expected)
        if end is not None and tuple(result.range) != (start, end):
            raise RangeIgnored(self.address)
        return Body(self._chunks(result), result.meta["size"], result.meta["e_tag"])

    def _chunks(self, result: obstore.GetResult) -> Iterator[bytes]:
        # 0: hand over whatever has arrived, so that a cut connection loses nothing.
        stream = iter(result.stream(min_chunk_size=0))
        while True:
            try:
                yield bytes(next(stream))
            except StopIteration:
                return
            except (BaseError, OSError, ValueError) as error:
                raise translate(error, self.address) from None

    def _open_file(self, path: Path, key: str, *, start: int, end: int | None, etag: str | None) -> Body:
        """Read a folder directly: the library reads files in blocks of 8 KiB on another thread."""
        now = self.head(key)
        if etag is not None and now.etag != etag:
            raise Changed(self.address)
        return Body(self._file_chunks(path, start, now.size if end is None else end), now.size, now.etag)

    def _file_chunks(self, path: Path, start: int, end: int) -> Iterator[memoryview]:
        """Yield views of one buffer: each is overwritten by the next."""
        buffer = memoryview(bytearray(min(_LOCAL_CHUNK, max(end - start, 1))))
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(start)
                while start < end:
                    count = file.readinto(buffer[: end - start]) or 0
                    if count == 0:
                        raise Changed(self.address)
                    start += count
                    yield buffer[:count]
        except OSError as error:
            raise translate(error, self.address) from None

    def read_only_file(self, key: str) -> Path | None:
        """Return the file of an object if the store is a folder here and the file is one that nobody writes to.

        Published files are, so that a cache on the same disk can share them instead of copying.
        """
        if self._folder is None:
            return None
        path = self._folder / key
        try:
            mode = path.lstat().st_mode
        except OSError:
            return None
        return path if stat.S_ISREG(mode) and not mode & 0o222 else None

    def create(self, key: str, data: bytes) -> None:
        """Write a small object that must not be there yet. Raises Exists."""
        self._ask(lambda: obstore.put(self._backend, key, data, mode="create"), Exists)

    def replace(self, key: str, data: bytes) -> None:
        """Write a small object over whatever is there."""
        self._ask(lambda: obstore.put(self._backend, key, data, use_multipart=False))

    def upload(self, key: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Write a file of known size, streamed in parts. Replaces what is there, at once or not at all."""
        part = max(_UPLOAD_CHUNK, -(-size // _UPLOAD_PARTS))
        try:
            if size <= part:
                data = b"".join(chunks)
                self._ask(
                    lambda: obstore.put(self._backend, key, data, use_multipart=False), Missing, Changed
                )
            else:
                parts = iter(chunks)
                self._ask(
                    lambda: obstore.put(self._backend, key, parts, chunk_size=part, max_concurrency=4),
                    Missing,
                    Changed,
                )
        except (Missing, Changed):
            # An upload in parts has an id that a store may forget.
            raise Unavailable("the store lost the upload") from None
        if self._folder is not None:
            (self._folder / key).chmod(0o444)

    def delete(self, key: str) -> None:
        self._ask(lambda: obstore.delete(self._backend, key))

    def _ask(self, request: Callable[[], _T], *expected: type[Exception]) -> _T:
        """Call the library. Raises StoreRefused, Unavailable, and of the other answers those expected here."""
        try:
            return request()
        except (BaseError, OSError, ValueError, TypeError) as error:
            ours = translate(error, self.address)
        if isinstance(ours, (StoreRefused, Unavailable, *expected)):
            raise ours
        raise refused(
            self.address, "it does not answer as a store does", "correct REACTOR_REGISTRY", "REACTOR_REGISTRY"
        )


def open_store(
    address: str,
    *,
    patience: Patience | None = None,
    environ: Mapping[str, str] | None = None,
    for_writing: bool = False,
) -> Store:
    """Open a registry address. Raises StoreRefused for one that cannot be used; asks nothing of the network.

    A folder that does not exist is made only for writing, so that a misspelt one is noticed.
    """
    environ = os.environ if environ is None else environ
    patience = patience or Patience()
    local = _local_folder(address)
    if local is not None:
        return _open_folder(local, for_writing=for_writing or _is_default(local))
    url = urlsplit(address)
    if url.username or url.password or url.query or url.fragment:
        raise StoreRefused(
            "the registry's address holds credentials or parameters.\n"
            "  Fix: leave only scheme, bucket and prefix in REACTOR_REGISTRY; credentials go into AWS_* or a profile.",
            setting="REACTOR_REGISTRY",
        )
    shown = f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")
    if url.scheme not in _SCHEMES or not url.netloc:
        raise StoreRefused(
            f"{shown!r} is not the address of a registry.\n"
            "  Fix: set REACTOR_REGISTRY to a folder, s3://bucket/prefix, gs://…, az://… or https://…",
            setting="REACTOR_REGISTRY",
        )
    try:
        backend = from_url(shown, **_options(url.scheme, patience, environ))
    except (BaseError, OSError, ValueError, TypeError) as error:
        raise translate(error, shown) from None
    return Store(backend, shown)


def default_address() -> str:
    """Return the embedded registry: a folder of this user."""
    return str(data_folder() / "registry")


def _is_default(folder: Path) -> bool:
    try:
        return str(folder) == default_address()
    except StoreRefused:  # a user without a home has none
        return False


def _options(scheme: str, patience: Patience, environ: Mapping[str, str]) -> dict[str, Any]:
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=patience.connect_s),
        # Silence, not length, is what ends a request: a piece may take minutes on a slow line.
        "read_timeout": timedelta(seconds=patience.stall_s),
        "timeout": timedelta(days=1),
        "user_agent": "framehelm",
    }
    options: dict[str, Any] = {"client_options": client, "retry_config": {"max_retries": 0}}
    if bundle := environ.get("AWS_CA_BUNDLE"):
        client["root_certificate"] = _certificates(bundle)
    if scheme in {"s3", "s3a"}:
        profile = credentials.profile(environ)
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or profile.endpoint
        if endpoint:
            options["endpoint"] = endpoint
            client["allow_http"] = endpoint.startswith("http://")
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or profile.region
        if region:
            options["region"] = region
        if profile.keys is not None:
            options["credential_provider"] = profile.keys
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            if profile.keys is None and environ.get(variable):
                options[variable.lower()] = environ[variable]
    elif scheme == "http":
        client["allow_http"] = True
    return options


def _certificates(bundle: str) -> bytes:
    """Read an authority's certificates, which are trusted beside the system's. Raises StoreRefused."""
    try:
        data = Path(bundle).expanduser().read_bytes()
    except (OSError, RuntimeError):
        data = b""
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise StoreRefused(
            f"AWS_CA_BUNDLE names {bundle!r}, which is not a readable file with certificates (PEM).\n"
            "  Fix: correct or unset it.",
            setting="AWS_CA_BUNDLE",
        )
    return data


def _local_folder(address: str) -> Path | None:
    if address.startswith("file://"):
        return Path(urlsplit(address).path)
    return None if "://" in address else Path(os.path.abspath(Path(address).expanduser()))


def _open_folder(folder: Path, *, for_writing: bool) -> Store:
    try:
        if for_writing:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError
        return Store(LocalStore(str(folder)), str(folder), folder=folder)
    except (BaseError, OSError):
        raise StoreRefused(
            f"the registry {folder} is not a folder that can be used here.\n"
            "  Fix: correct REACTOR_REGISTRY or --registry, or mount it.",
            setting="REACTOR_REGISTRY",
        ) from None
