"""`reactor weights`: fetch, publish, list, verify, find and collect weights.

Progress goes to stderr, results to stdout: lines for people, one JSON value with --json.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .screen import MISTAKE, mistakes

if TYPE_CHECKING:
    from ..weights.cache import Kept
    from ..weights.pull import Registry

app = typer.Typer(help="Fetch, publish, list, verify and collect weights.", no_args_is_help=True)

_Registry = Annotated[
    str,
    typer.Option("--registry", help="Folder, s3://bucket/prefix, … [REACTOR_REGISTRY]", show_default=False),
]
_Cache = Annotated[
    str, typer.Option("--cache", help="Folder of downloads. [REACTOR_CACHE]", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout.")]
_Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME[@VERSION]]...", show_default=False)]


@app.command()
def pull(names: _Names = None, registry: _Registry = "", cache: _Cache = "", as_json: _Json = False) -> None:
    """Download weights into the cache: those named, else those that ./manifest.json lists."""
    from ..weights.display import Display

    with _command(registry, cache) as source, Display() as display:
        pulled = [
            source.pull(name, report=display.report) for name in names or _listed(Path("manifest.json"))
        ]
    _show(
        as_json,
        [
            {
                "name": one.ref.name,
                "version": one.ref.version,
                "path": str(one.path),
                "total_bytes": one.total_bytes,
                "received_bytes": one.received_bytes,
                "verified": one.verified,
                "note": one.note,
            }
            for one in pulled
        ],
        lambda row: (
            f"{row['name']}@{row['version']}  {row['path']}" + (f"  ({row['note']})" if row["note"] else "")
        ),
    )


@app.command()
def push(
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Without a version: the next one.")],
    folder: Annotated[Path, typer.Argument(help="The folder whose files become this version.")],
    registry: _Registry = "",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Go on where another, dead push stopped.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Publish a folder as a version that never changes. Hidden files stay out."""
    from ..weights.display import Display
    from ..weights.publish import push as publish
    from ..weights.store import open_store

    with _command(registry, "") as source, Display() as display:
        store = open_store(source.address, for_writing=True)
        done = publish(store, name, folder, take_over=take_over, report=display.report)
    row = {
        "name": done.index.name,
        "version": done.index.version,
        "latest": done.latest,
        "files": len(done.index.files),
        "total_bytes": done.index.total_bytes,
        "registry": store.address,
    }
    _show(as_json, row, lambda row: f"published {row['name']}@{row['version']} in {row['registry']}")


@app.command(name="list")
def list_weights(
    names: _Names = None, registry: _Registry = "", cache: _Cache = "", as_json: _Json = False
) -> None:
    """List what the registry has and what is in the cache; only the cache while the registry is away."""
    from ..errors import ReactorError
    from ..weights.catalog import survey
    from ..weights.names import parse

    with _command(registry, cache) as source:
        kept = {(one.name, one.version): one for one in source.cache.kept()}
        wanted = [parse(text).name for text in names or []]
        note = ""
        try:
            found = survey(source.store(), wanted)
        except ReactorError as error:
            found, note = {}, str(error).partition("\n")[0]
    for name, version in kept:
        if not wanted or name in wanted:
            found.setdefault(name, [])
            if version not in found[name]:
                found[name].append(version)
    rows = [
        {"name": name, "version": version, "cached": (name, version) in kept}
        | ({"size_bytes": kept[name, version].size_bytes} if (name, version) in kept else {})
        for name in sorted(found)
        for version in found[name]
    ]
    if note:
        typer.echo(f"only the cache is listed: {note}", err=True)
    _show(
        as_json, rows, lambda row: f"{row['name']}@{row['version']}" + ("  cached" if row["cached"] else "")
    )


@app.command()
def verify(
    names: _Names = None, registry: _Registry = "", cache: _Cache = "", as_json: _Json = False
) -> None:
    """Hash every cached file, or those of the named weights. Damaged ones go to quarantine; status 1."""
    rows = []
    with _command(registry, cache) as source:
        for one in _chosen(source, names or []):
            found = source.cache.audit(one.name, one.version)
            damaged = list(found.damaged) if found is not None else ["reactor-weights.json"]
            for path in damaged:
                source.cache.quarantine(one.name, one.version, one.path, path)
            rows.append(
                {"name": one.name, "version": one.version, "damaged": damaged, "verified": one.verified}
            )
    _show(
        as_json,
        rows,
        lambda row: (
            f"{row['name']}@{row['version']}  "
            + (
                f"damaged: {', '.join(row['damaged'])}; the next pull fetches them again"
                if row["damaged"]
                else "right"
            )
        ),
    )
    if any(row["damaged"] for row in rows):
        raise typer.Exit(1)


@app.command()
def where(
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    registry: _Registry = "",
    cache: _Cache = "",
    as_json: _Json = False,
) -> None:
    """Print the local folder of weights, as the model would get it, without downloading. Status 2 if there is none."""
    from ..errors import WeightsMissing
    from ..weights.names import parse
    from ..weights.resolve import local_folder

    with _command(registry, cache) as source:
        ref = parse(name)
        path = local_folder(ref.name) or source.cached_folder(ref)
        if path is None:
            raise WeightsMissing(f"{name} is not on this machine.\n  Fix: reactor weights pull {name}")
    _show(as_json, {"name": name, "path": str(path)}, lambda row: str(row["path"]))


@app.command()
def gc(
    max_age: Annotated[str, typer.Option(help="Remove what was not used for so long, like 30d or 12h.")] = "",
    max_size: Annotated[
        str, typer.Option(help="Then the longest unused, until so much is left, like 50GB.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    cache: _Cache = "",
    as_json: _Json = False,
) -> None:
    """Remove cached versions by age and size, and what dead downloads left. Nothing in use is touched."""
    from ..weights.cache import due_for_collection

    with _command("", cache) as source:
        kept = list(source.cache.kept())
        due = due_for_collection(
            kept,
            now_s=time.time(),
            max_age_s=_amount(max_age, "--max-age", _AGES),
            max_bytes=None if (size := _amount(max_size, "--max-size", _SIZES)) is None else int(size),
        )
        removed = due if dry_run else [one for one in due if source.cache.remove(one)]
        rubbish = (
            source.cache.rubbish(older_than_s=0) if dry_run else source.cache.clear_rubbish(older_than_s=0)
        )
    row = {
        "dry_run": dry_run,
        "removed": [
            {"name": one.name, "version": one.version, "size_bytes": one.size_bytes} for one in removed
        ],
        "rubbish": [path.name for path in rubbish],
        "freed_bytes": sum(one.size_bytes for one in removed),
        "kept_bytes": sum(one.size_bytes for one in kept) - sum(one.size_bytes for one in removed),
    }
    _show(as_json, row, _collected)


def _collected(row: dict[str, Any]) -> str:
    from ..weights.transfer import size

    verb = "would remove" if row["dry_run"] else "removed"
    lines = [f"{verb} {one['name']}@{one['version']}  {size(one['size_bytes'])}" for one in row["removed"]]
    lines += [f"{verb} {name} (unfinished or damaged)" for name in row["rubbish"]]
    lines.append(
        f"{size(row['freed_bytes'])} {'to free' if row['dry_run'] else 'freed'}, {size(row['kept_bytes'])} kept"
    )
    return "\n".join(lines)


@contextmanager
def _command(registry: str, cache: str) -> Iterator[Registry]:
    """Open the registry, and turn mistakes and Ctrl-C into an exit status."""
    from ..weights.resolve import registry as open_registry

    with mistakes():
        source = open_registry(address=registry, cache=cache)
        try:
            yield source
        except KeyboardInterrupt:
            typer.echo("stopped; the same command goes on where this one ended", err=True)
            raise typer.Exit(128 + signal.SIGINT) from None
        finally:
            source.close()


def _chosen(source: Registry, names: Sequence[str]) -> list[Kept]:
    """Return the cached versions that these names choose; all without names."""
    from ..errors import WeightsMissing
    from ..weights.names import parse

    kept = list(source.cache.kept())
    if not names:
        return kept
    chosen = []
    for ref in map(parse, names):
        found = [one for one in kept if one.name == ref.name and ref.version in {None, one.version}]
        if not found:
            raise WeightsMissing(f"{ref} is not in the cache.\n  Fix: reactor weights pull {ref}")
        chosen += found
    return chosen


def _listed(manifest: Path) -> list[str]:
    """Return what a manifest lists."""
    from ..errors import ManifestError

    fix = "name the weights, or run this beside a manifest.json"
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
    except OSError:
        raise ManifestError("there is no such file", file=str(manifest), fix=fix) from None
    except ValueError as error:
        raise ManifestError(f"not JSON: {error}", file=str(manifest)) from None
    listed = data.get("weights") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed) or not listed:
        raise ManifestError("lists no weights", file=str(manifest), key="weights", fix=fix)
    return listed


_AGES = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SIZES = {
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
}


def _amount(text: str, option: str, units: dict[str, float]) -> float | None:
    """Read "30d" or "50 GB"; None for an option that was not given."""
    if not text:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)", text.strip())
    if match is None or match[2].lower() not in units:
        typer.echo(f"{option}: {text!r} is not a number with one of the units {', '.join(units)}", err=True)
        raise typer.Exit(MISTAKE)
    return float(match[1]) * units[match[2].lower()]


def _show(as_json: bool, value: Any, line: Any) -> None:
    """Print a result: JSON, or a line for each row."""
    if as_json:
        typer.echo(json.dumps(value))
    elif isinstance(value, list):
        for row in value:
            typer.echo(line(row))
    else:
        typer.echo(line(value))
