"""What a registry has: names and versions."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StoreUnreachable, WeightsMissing
from . import names
from .pull import Registry, plain_files, published_versions
from .store_errors import Unavailable


def survey(registry: Registry, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return the versions of these names, or of all; a folder without an index counts as "plain".

    Raises StoreRefused, StoreUnreachable.
    """

    store = registry.store()
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
