"""Where `VideoModel.weights(name)` looks: one replaceable callable per process.

    REACTOR_WEIGHTS_<NAME>   an explicit folder, for one machine or one test
    ./weights/<name>         beside the manifest, else in the working folder
    a registry               what `use` installed

Loading a manifest sets `folder`, before the author's module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .errors import WeightsMissing
from .weights import names

#: The manifest's folder; None until a manifest was loaded.
folder: Path | None = None
_registry: Callable[[names.Ref], Path] | None = None


def use(registry: Callable[[names.Ref], Path] | None) -> None:
    """Install what is asked for weights that are not beside the manifest."""
    global _registry
    _registry = registry


def resolve(text: str) -> Path:
    """Return the folder of these weights, from the first source that has them. Raises WeightsMissing."""
    ref = names.parse(text)
    variable = names.override_variable(ref.name)
    if explicit := os.environ.get(variable):
        path = Path(explicit).expanduser().absolute()
        if not path.is_dir():
            raise WeightsMissing(f"{variable} names {explicit!r}, not a folder.\n  Fix: correct or unset it.")
        return path
    beside = names.beside(folder or Path.cwd(), ref.name)
    if beside.is_dir():
        return beside
    if _registry is not None:
        return _registry(ref)
    raise WeightsMissing(
        f"The weights {text!r} are not on this machine.\n"
        f"  Fix: put their files into {beside}, or set {variable} to the folder that has them."
    )
