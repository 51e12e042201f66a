"""What a model holds, as digests that can be compared: which attribute is not what it was?

    model ─▶ {"_wishes.prompt": digest, "class attribute STYLES": digest, "default of mix()": digest, ...}

Called between two sessions, on whatever thread. Large arrays are sampled; what cannot be looked into counts
by its type. A hint and no proof: an attribute may change without a user ever seeing it.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import numpy as np

from ..author.model import VideoModel

#: Elements of an array that are looked at, evenly spread, and items of a container.
_SAMPLE: Final = 1 << 20
_ITEMS: Final = 10_000
_DEPTH: Final = 8


def fingerprints(model: VideoModel) -> dict[str, str]:
    """Return digests of the model's attributes, its classes' and its module's, and of its methods' defaults."""
    # Libraries warn of attributes that are old; nobody but this look at all of them asked for one.
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _fingerprints(model)
    finally:
        logging.disable(disabled)


def _fingerprints(model: VideoModel) -> dict[str, str]:
    found = {
        name: digest
        for name, value in vars(model).items()
        if value is not model
        for name, digest in _named(name, value)
    }
    for owner in type(model).__mro__:
        if owner in (object, VideoModel) or owner.__module__.startswith("reactor_runtime."):
            continue
        for name, value in vars(owner).items():
            if inspect.isfunction(value) and (value.__defaults__ or value.__kwdefaults__):
                found[f"a default of {name}()"] = _digest([value.__defaults__, value.__kwdefaults__])
            elif _is_data(name, value):
                found[f"class attribute {name}"] = _digest(value)
    module = sys.modules.get(type(model).__module__)
    for name, value in vars(module).items() if module is not None else ():
        if _is_data(name, value):
            found[f"global {name} of {type(model).__module__}.py"] = _digest(value)
    return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names of what differs, is new or is gone; plain attributes first."""
    differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return sorted(differ, key=lambda name: (" " in name, name))


def _named(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """An attribute, or the attributes of the author's object in it."""
    try:
        inner = _attributes(value)
    except Exception:
        inner = None
    if inner is None or type(value).__module__.partition(".")[0] in ("torch", "numpy", "threading"):
        yield name, _digest(value)
        return
    for attribute, held in inner.items():
        yield f"{name}.{attribute}", _digest(held)


def _is_data(name: str, value: Any) -> bool:
    if name.startswith("__") or inspect.ismodule(value) or inspect.isclass(value) or callable(value):
        return False
    return not isinstance(value, property | staticmethod | classmethod) and not hasattr(value, "__get__")


def _attributes(value: Any) -> dict[str, Any] | None:
    if (
        inspect.ismodule(value)
        or inspect.isclass(value)
        or inspect.isroutine(value)
        or isinstance(value, Enum)
    ):
        return None
    slots = [name for owner in type(value).__mro__ for name in getattr(owner, "__slots__", ())]
    held = getattr(value, "__dict__", None)
    if held is None and not slots:
        return None
    return {**(held or {}), **{name: getattr(value, name) for name in slots if hasattr(value, name)}}


def _digest(value: Any) -> str:
    digest = hashlib.blake2b(digest_size=12)
    try:
        for part in _parts(value, 0, set()):
            digest.update(part)
            digest.update(b"\0")
    except Exception as error:  # an author's object, or a library's, may raise anything when it is looked at
        return f"{type(value).__name__} raises {type(error).__name__}"
    return digest.hexdigest()


def _parts(value: Any, depth: int, above: set[int]) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if depth > _DEPTH or id(value) in above:
        return
    above = above | {id(value)}
    if isinstance(value, np.ndarray):
        yield from _array(value)
    elif hasattr(value, "detach") and hasattr(value, "numel"):
        yield from _tensor(value)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum):
        yield repr(value).encode("utf-8", "backslashreplace")
    elif isinstance(value, random.Random):
        yield repr(value.getstate()).encode()
    elif isinstance(value, np.random.Generator):
        yield repr(value.bit_generator.state).encode()
    elif isinstance(value, Mapping):
        for key, held in list(value.items())[:_ITEMS]:
            yield repr(key).encode("utf-8", "backslashreplace")
            yield from _parts(held, depth + 1, above)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value))[:_ITEMS]).encode("utf-8", "backslashreplace")
    elif hasattr(value, "__iter__") and hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        for held in list(value)[:_ITEMS]:
            yield from _parts(held, depth + 1, above)
    elif (held := _attributes(value)) is not None:
        for name, inner in held.items():
            yield name.encode()
            yield from _parts(inner, depth + 1, above)


def _array(array: Any) -> Iterator[bytes]:
    yield f"{array.dtype} {array.shape}".encode()
    flat = array.reshape(-1)
    flat = flat[:: max(1, flat.size // _SAMPLE)]
    yield repr(flat.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(flat).tobytes()


def _tensor(tensor: Any) -> Iterator[bytes]:
    yield f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    flat = tensor.detach().reshape(-1)
    flat = flat[:: max(1, flat.numel() // _SAMPLE)]
    # float() because numpy has no bfloat16.
    yield flat.float().cpu().numpy().tobytes()
