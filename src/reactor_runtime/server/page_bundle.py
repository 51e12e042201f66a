"""The page's modules as one script, made when the server starts, so that a visitor waits for one request. Pure.

    page/*.js ──bundle()──▶ one module: every file that it needs a function of its own, in the order of its imports
                            `import("./name.js")` stays: what is loaded later is a bundle of its own

Whoever serves needs no build, and a checkout serves what a wheel does. The modules keep to the few forms of
`import` and `export` that are read here; any other is refused. Comments that stand on lines of their own are
left out, and what lines begin with; nothing else is: who reads the script finds the code, and at `?source` the
files as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final

#: A licence stays: `/*!`.
_COMMENTS: Final = re.compile(
    r"^[ \t]*(?:/\*(?!!).*?\*/[ \t]*\n?|//[^\n]*\n)|/\*\* @[^*\n]*\*/ ?", re.M | re.S
)
_IMPORT: Final = re.compile(r"^import \{([^}]*)\} from \"\./([\w.-]+)\";\n", re.M)
_EXPORT: Final = re.compile(r"^export (?=(?:class|(?:async )?function\*?|const) (\w+))", re.M)
#: No text of a module runs over several lines, so what stands before a line says nothing.
_INDENT: Final = re.compile(r"^[ \t]+", re.M)
_CSS_COMMENTS: Final = re.compile(r"/\*.*?\*/", re.S)
_CSS_SPACE: Final = re.compile(r"\s*([{};,])\s*")
#: The only form in which a module asks for one that is loaded later.
_LATER: Final = re.compile(r"\bimport\(\"\./([\w-]+\.js)\"\)")
#: What is left of a module whose imports and exports were all understood has none of these.
_FOREIGN: Final = re.compile(
    r"^(?:import|export)\b[^\n]*|\bimport(?!\(\"\./[\w-]+\.js\"\))\s*[(.][^\n]*", re.M
)


class Unbundled(Exception):
    """A module that cannot be put together with the others."""


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """Return one module that does what `entry` does, and exports the same. `modules` has text by file name.

    Raises Unbundled for a form of import or export that is not known, an import of what is not there, a circle.
    """
    if entry not in modules:
        raise Unbundled(f"no module is called {entry}")
    bodies: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    exported: dict[str, list[str]] = {}
    for name, text in sorted(modules.items()):
        bare = _COMMENTS.sub("", text)
        needs[name] = [imported.group(2) for imported in _IMPORT.finditer(bare)]
        body = _IMPORT.sub(lambda found: f"const {{{_renamed(found[1])}}} = {_variable(found[2])};\n", bare)
        exported[name] = _EXPORT.findall(body)
        bodies[name] = _INDENT.sub("", _EXPORT.sub("", body))
        if foreign := _FOREIGN.search(bodies[name]):
            raise Unbundled(f"{name}: {foreign.group()!r} is no import or export that is known here")
    wanted = _reached(entry, needs)
    try:
        order = [*TopologicalSorter({name: needs[name] for name in needs if name in wanted}).static_order()]
    except CycleError as error:
        raise Unbundled(f"the modules import each other in a circle: {' → '.join(error.args[1])}") from None
    if missing := set(order) - modules.keys():
        raise Unbundled(f"no module is called {' or '.join(sorted(missing))}")
    parts = [
        f"const {_variable(name)} = (() => {{\n{bodies[name]}return {{ {', '.join(exported[name])} }};\n}})();\n"
        for name in order
    ]
    return "".join(parts) + f"export const {{ {', '.join(exported[entry])} }} = {_variable(entry)};\n"


def loaded_later(script: str) -> list[str]:
    """Return the modules that a script loads when it needs them."""
    return sorted(set(_LATER.findall(script)))


def squeezed(style: str) -> str:
    """Return a style sheet without its comments and the space between its signs."""
    return _CSS_SPACE.sub(r"\1", _CSS_COMMENTS.sub("", style))


def _reached(entry: str, needs: Mapping[str, list[str]]) -> set[str]:
    """Return what an entry needs, itself included: not the workers and the other pages."""
    reached, ahead = set[str](), [entry]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += needs.get(name, [])
    return reached


def _renamed(names: str) -> str:
    return names.replace(" as ", ": ")


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))
