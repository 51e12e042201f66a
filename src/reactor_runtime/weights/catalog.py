"""What a registry has: names, their versions, and what a reference stands for.

Stateless questions to a store, answered from its listings, pointers and indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import StoreUnreachable, WeightsMissing
from . import index, names
from .index import Index, Latest, RemoteFile
from .names import Ref
from .store import Store
from .store_errors import Missing, Unavailable


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the store says a reference stands for."""

    version: str
    files: tuple[RemoteFile, ...]


def choose(store: Store, ref: Ref) -> Chosen:
    """Ask the store what a reference stands for. Raises WeightsMissing, Unavailable, StoreRefused, WeightsCorrupt."""
    version = ref.version or _latest(store, ref.name)
    if version is not None and not names.is_plain(version):
        found = _index(store, ref.name, version)
        if found is None and store.can_list:
            # 1.0 is 1.0.0, and a pointer may be gone ahead of what was removed by hand.
            spelled = names.same_version(version, published_versions(store, ref.name))
            found = _index(store, ref.name, spelled) if spelled and spelled != version else None
        if found is not None:
            return Chosen(found.version, found.remote())
    if store.can_list and (ref.version is None or names.is_plain(ref.version)):
        listed = plain_files(store, ref.name)
        if listed:
            chosen = Chosen(index.plain_version(listed), listed)
            if ref.version in {None, chosen.version}:
                return chosen
    raise _missing(store, ref)


def published_versions(store: Store, name: str) -> list[str]:
    """Return the versions of a name whose index is there, as the store spells them."""
    return [text for text in store.folders(names.name_prefix(name)) if _index_exists(store, name, text)]


def plain_files(store: Store, name: str) -> tuple[RemoteFile, ...]:
    """Return the files of a folder without an index. Raises WeightsMissing for a file that cannot be stored here."""
    prefix = names.name_prefix(name) + "/"
    if store.is_local and name not in store.folders(""):
        # A file system that ignores case would answer to another name.
        return ()
    files = []
    for entry in store.under(names.name_prefix(name)):
        path = entry.key.removeprefix(prefix)
        if entry.key.startswith(prefix) and path not in names.RESERVED_FILES and not path.endswith("/"):
            if path.rsplit("/", 1)[-1] in names.RESERVED_FILES:
                # Someone is publishing a version there, and it is not complete.
                return ()
            files.append(RemoteFile(path, entry.size, None, entry.etag))
    names.check_paths(file.path for file in files)
    return tuple(files)


def _latest(store: Store, name: str) -> str | None:
    try:
        data, _ = store.read(names.latest_key(name))
    except Missing:
        return names.newest(published_versions(store, name)) if store.can_list else None
    return Latest.parse(data)


def _index(store: Store, name: str, version: str) -> Index | None:
    try:
        data, _ = store.read(names.index_key(name, version))
    except Missing:
        return None
    return Index.parse(data, name=name, version=version)


def _index_exists(store: Store, name: str, text: str) -> bool:
    try:
        if names.check_version(text) != text:
            return False
        store.head(names.index_key(name, text))
    except (WeightsMissing, Missing):
        return False
    return True


def _missing(store: Store, ref: Ref) -> WeightsMissing:
    if not store.can_list:
        return WeightsMissing(
            f"{store.address} has no {ref}, or no index of it.\n"
            "  Fix: name an exact version (name@1.2.0); this kind of registry cannot be searched."
        )
    versions = published_versions(store, ref.name)
    if versions:
        return WeightsMissing(f"{store.address} has no {ref}. It has the versions {', '.join(versions)}.")
    known = sorted(store.folders(""))[:10]
    has = f"It has {', '.join(known)}." if known else "It is empty."
    return WeightsMissing(
        f"{store.address} has no weights {ref.name!r}. {has}\n"
        f"  Fix: put their files into ./weights/{ref.name} beside the manifest, publish them with "
        f"`reactor weights push {ref.name} FOLDER`, or choose another registry with REACTOR_REGISTRY."
    )


def survey(store: Store, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return the versions of these names, or of all; a folder without an index counts as "plain".

    Raises StoreRefused, StoreUnreachable: one question, one answer, no patience.
    """

    found: dict[str, list[str]] = {}
    try:
        for name in wanted or [name for name in store.folders("") if _is_name(name)]:
            versions = sorted(published_versions(store, name), key=names.sort_key)
            if versions or plain_files(store, name):
                found[name] = versions or ["plain"]
    except Unavailable as error:
        raise StoreUnreachable(f"{store.address}: {error}.") from None
    return found


def _is_name(text: str) -> bool:
    try:
        names.check_name(text)
    except WeightsMissing:
        return False
    return True
