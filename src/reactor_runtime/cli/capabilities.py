"""`reactor capabilities`: what a model can do, as JSON for programs.

The class is imported and never constructed, so no weights are loaded. Stdout carries the JSON and nothing
else, whatever the author's module, its libraries or their threads print: those go to stderr.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..types import JsonObject, ModelInfo


def capabilities(
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the traceback of a mistake in the model's module.")
    ] = False,
) -> None:
    """Print a model's commands, tracks and manifest as JSON, without loading it."""
    from ..headless.stdout import claim_stdout
    from .screen import mistakes

    results = claim_stdout()
    with mistakes(verbose=verbose):
        from ..author.manifest import Manifest

        manifest = Manifest.read(path)
        info = manifest.info(manifest.load_class())
        document = describe(info) | {
            "manifest": {
                "file": str(manifest.file),
                "class": manifest.class_path,
                "args": manifest.args,
                "weights": list(manifest.weights_for()),
            }
        }
    json.dump(document, results, indent=2, ensure_ascii=False)
    results.write("\n")
    results.close()


def describe(info: ModelInfo) -> JsonObject:
    """Return what clients may know of a model. Track directions are the model's: it emits `out`."""
    return {
        "model": {
            "name": info.name,
            "version": info.version,
            "description": info.description,
            "fps": info.fps,
        },
        "tracks": [
            {"name": each.name, "kind": each.kind, "direction": each.direction} for each in info.tracks
        ],
        "commands": [
            {
                "name": each.name,
                "description": each.description,
                "parameters": each.parameters,
                "reply": each.reply,
            }
            for each in info.commands
        ],
    }
