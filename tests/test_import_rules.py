"""Who may import what: the pure centre stays pure, and the author's surface stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reactor_runtime

PACKAGE = Path(reactor_runtime.__file__).parent
#: Which folders a folder may import, besides itself and the values at the top of the package. Floors, lowest
#: first: no arrow goes up, so no circle goes through two folders.
FLOORS: dict[str, set[str]] = {
    "wire": set(),
    "encode": set(),
    "webrtc": set(),
    "websocket": {"encode"},
    "weights": set(),
    "author": {"weights"},
    "running": {"author", "weights"},
    "worker": {"author", "running", "weights"},
    "session_log": {"weights"},
    "recording": {"encode"},
    "session": {"author", "encode", "recording", "session_log", "webrtc", "websocket", "wire"},
    "server": {
        "author",
        "recording",
        "running",
        "session",
        "session_log",
        "webrtc",
        "websocket",
        "weights",
        "worker",
    },
    "headless": {"author", "encode", "running", "session_log"},
    "cluster": {"recording", "server", "session", "webrtc", "websocket", "wire"},
    "cli": {"author", "cluster", "headless", "server", "session_log", "webrtc", "weights", "worker"},
}
#: Modules at the top which hand out what folders make: nothing imports them.
FACADES = {
    "": {"author", "running", "weights"},
    "images": {"author"},
    "testing": {"headless"},
}
#: Modules of `author` that a server may import: they know documents and never an author's code.
DOCUMENTS = {"author.published", "author.documents", "author.manifest"}

PURE = [
    "author.published",
    "author.arguments",
    "author.documents",
    "author.schema",
    "cluster.limits",
    "cluster.roster",
    "cluster.scaling",
    "cluster.vouching",
    "codes",
    "errors",
    "headless.check",
    "headless.sample_arguments",
    "limits",
    "origins",
    "pacing",
    "recording.fmp4",
    "recording.playlist",
    "server.access",
    "server.page_bundle",
    "server.places",
    "server.readers",
    "session.admission",
    "session.claims",
    "session.commands",
    "session.company",
    "session.deadman",
    "session.doorway",
    "session.estimate",
    "session.frame_ids",
    "session.grants",
    "session.lifecycle",
    "session.line",
    "session.loading",
    "session.passes",
    "session.prospects",
    "session.rate",
    "session.refusals",
    "session.renditions",
    "session.starters",
    "session.times",
    "session.turns",
    "session.votes",
    "session.wheel",
    "session_log.digests",
    "session_log.lines",
    "session_log.script",
    "tokens",
    "types",
]
PURE += [
    "webrtc.addresses",
    "webrtc.candidate",
    "webrtc.lost_packets",
    "webrtc.reported_rate",
    "websocket.header",
    "websocket.relay",
]
PURE += sorted(f"wire.{path.stem}" for path in (PACKAGE / "wire").glob("*.py") if path.stem != "__init__")
SERVER = [
    "server.app",
    "session.session",
    "session.sessions",
    "session.fanout",
    "session.stream",
    "session.viewer",
]

ENGINES = {"reactor_webrtc", "aiortc"}
MEDIA = ENGINES | {"av", "cv2", "PIL", "torch", "onnxruntime"}
NETWORK = {
    "asyncio",
    "socket",
    "ssl",
    "selectors",
    "http",
    "urllib",
    "httpx",
    "fastapi",
    "starlette",
    "uvicorn",
}
EFFECTS = {"threading", "multiprocessing", "subprocess", "time"}


def file_of(module: str) -> Path:
    path = PACKAGE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, lazy: bool) -> Iterator[str]:
    """Yield absolute module names; our own start with a dot. `lazy` includes imports inside functions."""
    tree = ast.parse(path.read_text())
    package = module_of(path).split(".")[:-1] if path.name != "__init__.py" else module_of(path).split(".")
    for node in ast.walk(tree) if lazy else _at_import_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = [part for part in package[: len(package) - node.level + 1] if part]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                yield "." + (inner if file_of(inner).exists() else ".".join(base))


def _at_import_time(tree: ast.Module) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def reached_by(module: str) -> set[str]:
    """Everything outside the package that importing this module leads to, as written in our files."""
    waiting, seen, outside = [module], set[str](), set[str]()
    while waiting:
        here = waiting.pop()
        if here in seen or not file_of(here).exists():
            continue
        seen.add(here)
        for name in imports_of(file_of(here), lazy=False):
            if name.startswith("."):
                waiting.append(name[1:])
            else:
                outside.add(name.partition(".")[0])
    return outside


def loaded_by(statement: str) -> set[str]:
    """What a fresh interpreter has loaded after this statement."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def folder_of(module: str) -> str:
    """Return the folder that a module lies in; "" for those at the top of the package."""
    head, dot, _ = module.partition(".")
    return head if dot or (PACKAGE / head).is_dir() else ""


def arrows() -> Iterator[tuple[str, str]]:
    """Yield (importing module, imported module) for all of the package."""
    for path in PACKAGE.rglob("*.py"):
        if "template" not in path.parts:
            for name in imports_of(path, lazy=True):
                if name.startswith("."):
                    yield module_of(path), name[1:]


def test_no_arrow_goes_from_a_lower_floor_to_a_higher_one() -> None:
    wrong = []
    for importer, imported in arrows():
        here, there = folder_of(importer), folder_of(imported)
        allowed = FLOORS[here] | {here, ""} if here else FACADES.get(importer, set()) | {""}
        if there not in allowed or (importer not in FACADES and imported in FACADES.keys() - {""}):
            wrong.append(f"{importer} → {imported}")
    assert wrong == []


def test_each_folder_has_a_floor_and_stands_on_lower_ones() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == FLOORS.keys()
    floors = list(FLOORS)
    for floor, below in FLOORS.items():
        assert below <= set(floors[: floors.index(floor)])


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lines = {module_of(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    long = {module: count for module, count in lines.items() if count > 400}
    assert {module for module in long if not module.endswith("_pb2")} == set()


@pytest.mark.parametrize("folder", FLOORS)
def test_each_folder_says_what_it_imports_and_who_imports_it(folder: str) -> None:
    told = ast.get_docstring(ast.parse(file_of(folder).read_text())) or ""
    (lines,) = [part for part in told.split("\n\n") if part.startswith("Imports ")]
    sentence = " ".join(lines.split()).partition(". ")[0]
    imports, importers = (
        set(re.findall(r"`(\w+)`", part)) for part in sentence.split("; is imported by", maxsplit=1)
    )
    assert imports == FLOORS[folder]
    above = {name for name, below in (FLOORS | FACADES).items() if folder in below}
    assert importers == above - {""}
    assert ("the package itself" in sentence) == ("" in above)


def test_no_arrow_is_allowed_that_nobody_needs() -> None:
    drawn = {(folder_of(importer), folder_of(imported)) for importer, imported in arrows()}
    assert {(floor, below) for floor in FLOORS for below in FLOORS[floor]} <= drawn
    facades = {(importer, folder_of(imported)) for importer, imported in arrows() if importer in FACADES}
    assert {(facade, below) for facade in FACADES for below in FACADES[facade]} <= facades


def test_no_two_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported in arrows():
        if importer and not file_of(imported).name.startswith("__init__"):
            graph.setdefault(importer, set()).add(imported)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_the_server_s_folders_import_of_author_only_documents_and_the_manifest() -> None:
    of_author = {
        imported
        for importer, imported in arrows()
        if folder_of(importer) in ("session", "server") and folder_of(imported) == "author"
    }
    assert of_author <= DOCUMENTS


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_reaches_no_network_no_thread_and_no_media_library(module: str) -> None:
    assert file_of(module).is_file()
    assert reached_by(module).isdisjoint(NETWORK | MEDIA | EFFECTS)


def test_only_webrtc_imports_the_webrtc_engines() -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] in ENGINES for name in imports_of(path, lazy=True))
    }
    assert {name for name in importers if not name.startswith("webrtc/")} == set()
    assert importers


@pytest.mark.parametrize("module", ["session.viewer", "session.stream", "link"])
def test_a_viewer_knows_nothing_of_how_its_link_came_about(module: str) -> None:
    waiting, seen = [module], set[str]()
    while waiting:
        here = waiting.pop()
        if here not in seen and file_of(here).exists():
            seen.add(here)
            waiting += [name[1:] for name in imports_of(file_of(here), lazy=True) if name.startswith(".")]
    assert "link" in seen or module == "session.stream"
    assert {name for name in seen if name.startswith("webrtc")} == set()


def test_only_the_cluster_s_edge_imports_ray() -> None:
    importers = {
        module_of(path)
        for path in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] == "ray" for name in imports_of(path, lazy=True))
    }
    assert importers == {"cluster.actors", "cluster.launch"}


@pytest.mark.slow
def test_a_single_server_loads_nothing_of_a_cluster() -> None:
    loaded = loaded_by(
        "import reactor_runtime.cli.serve, reactor_runtime.cli.run, reactor_runtime.server.runtime"
    )
    assert "reactor_runtime.server.runtime" in loaded
    assert {name for name in loaded if name.partition(".")[0] in ("ray", "httpx")} == set()
    # The command's help names it; what it does is not loaded.
    assert {name for name in loaded if name.startswith("reactor_runtime.cluster")} == set()


def test_nothing_imports_torch_when_it_is_imported() -> None:
    importers = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] == "torch" for name in imports_of(path, lazy=False))
    ]
    assert importers == []


@pytest.mark.slow
def test_the_server_loads_no_author_code() -> None:
    loaded = loaded_by("\n".join(f"import reactor_runtime.{module}" for module in SERVER))
    names = ("author.model", "author.manifest", "author.images", "running.context", "running.runner")
    authors = {f"reactor_runtime.{name}" for name in names}
    assert loaded.isdisjoint(authors | {"torch"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement", ["import reactor_runtime", "from reactor_runtime import VideoModel, command, CommandError"]
)
def test_the_author_s_surface_loads_neither_torch_nor_media_nor_server(statement: str) -> None:
    assert loaded_by(statement).isdisjoint(MEDIA | {"fastapi", "starlette", "uvicorn", "typer", "rich"})


@pytest.mark.slow
def test_importing_the_package_alone_loads_nothing_else() -> None:
    mine = {name for name in loaded_by("import reactor_runtime") if name.startswith("reactor_runtime")}
    assert mine == {"reactor_runtime"}
    assert "pydantic" not in loaded_by("import reactor_runtime")


def test_every_public_name_can_be_imported_and_no_other() -> None:
    assert set(dir(reactor_runtime)) >= set(reactor_runtime.__all__)
    for name in reactor_runtime.__all__:
        assert getattr(reactor_runtime, name) is not None
    assert not hasattr(reactor_runtime, "nothing_of_this_name")
