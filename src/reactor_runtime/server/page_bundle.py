"""The page's modules as a few scripts, made when the server starts, so that a visitor waits for few requests. Pure.

    page/*.js ──bundles()──▶ a script for each entry: every file that it needs a function of its own, in the order of
                             its imports; what a script before it has is imported from there
                             `import("./name.js")`: what is loaded later is an entry as well

Whoever serves needs no build, and a checkout serves what a wheel does. The modules keep to the few forms of
`import` and `export` that are read here; any other is refused. Comments that stand on lines of their own are
left out, and what lines begin with; nothing else is: who reads the script finds the code, and at `?source` the
files as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
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
#: A style that a module puts on by itself, see page/wear.js.
_WORN: Final = re.compile(r"\bwear\(\"([\w-]+\.css)\"\)")
#: What is left of a module whose imports and exports were all understood has none of these.
_FOREIGN: Final = re.compile(
    r"^(?:import|export)\b[^\n]*|\bimport(?!\(\"\./[\w-]+\.js\"\))\s*[(.][^\n]*", re.M
)


class Unbundled(Exception):
    """A module that cannot be put together with the others."""


def bundles(modules: Mapping[str, str], first: Sequence[str], named: Callable[[str], str]) -> dict[str, str]:
    """Return a script for each entry: those in `first`, which a visitor loads in this order, and what is loaded later.

    Each does what its entry does, and exports the same; it has the modules that no script before it has, so that
    each module is there once. What two of those that are loaded later need comes with the last of `first`.
    `modules` has text by file name, `named` gives the name of a script or a style that a visitor asks for.

    Raises Unbundled for a form of import or export that is not known, an import of what is not there, a circle.
    """
    read = {name: _read(name, text, named) for name, text in sorted(modules.items())}
    reached = {entry: _reached(entry, read) for entry in first}
    later = sorted({name for entry in first for module in reached[entry] for name in read[module].later})
    while missing := set(later) - reached.keys():
        for entry in sorted(missing):
            reached[entry] = _reached(entry, read)
            later = sorted({*later, *(name for module in reached[entry] for name in read[module].later)})
    times = Counter(module for entry in later for module in reached[entry])
    reached[first[-1]] |= {module for module, count in times.items() if count > 1}
    entries = (*first, *later)
    home = {
        module: next(entry for entry in entries if module in reached[entry])
        for module in _in_order(read, set().union(*reached.values()))
    }
    abroad = {need for module in home for need in read[module].needs if home[need] != home[module]}
    abroad |= {entry for entry in later if home[entry] != entry}
    return {entry: _script(entry, read, home, abroad, named) for entry in entries}


@dataclass(frozen=True, slots=True)
class _Module:
    body: str
    needs: tuple[str, ...]
    """The modules that it imports."""
    exported: tuple[str, ...]
    later: tuple[str, ...]
    """The modules that it loads when it needs them."""


def _read(name: str, text: str, named: Callable[[str], str]) -> _Module:
    bare = _COMMENTS.sub("", text)
    body = _IMPORT.sub(lambda found: f"const {{{_renamed(found[1])}}} = {_variable(found[2])};\n", bare)
    squeezed_body = _INDENT.sub("", _EXPORT.sub("", body))
    if foreign := _FOREIGN.search(squeezed_body):
        raise Unbundled(f"{name}: {foreign.group()!r} is no import or export that is known here")
    renamed = _LATER.sub(lambda found: f'import("./{named(found[1])}")', squeezed_body)
    return _Module(
        _WORN.sub(lambda found: f'wear("{named(found[1])}")', renamed),
        tuple(imported[2] for imported in _IMPORT.finditer(bare)),
        tuple(_EXPORT.findall(body)),
        tuple(_LATER.findall(squeezed_body)),
    )


def _reached(entry: str, read: Mapping[str, _Module]) -> set[str]:
    """Return what an entry needs, itself included: not the workers and the other pages."""
    reached, ahead = set[str](), [entry]
    while ahead:
        name = ahead.pop()
        if name not in read:
            raise Unbundled(f"no module is called {name}")
        if name not in reached:
            reached.add(name)
            ahead += read[name].needs
    return reached


def _in_order(read: Mapping[str, _Module], wanted: Collection[str]) -> list[str]:
    try:
        return [*TopologicalSorter({name: read[name].needs for name in sorted(wanted)}).static_order()]
    except CycleError as error:
        raise Unbundled(f"the modules import each other in a circle: {' → '.join(error.args[1])}") from None


def _script(
    entry: str,
    read: Mapping[str, _Module],
    home: Mapping[str, str],
    abroad: Collection[str],
    named: Callable[[str], str],
) -> str:
    """`home` says in which script a module is, in the order of imports; `abroad`: which others ask for as well."""
    own = [name for name in home if home[name] == entry]
    foreign = {need for name in own for need in read[name].needs if home[need] != entry}
    foreign |= {entry} - set(own)  # it came with a script before
    lines = [
        f'import {{ {", ".join(map(_variable, sorted(names)))} }} from "./{named(script)}";\n'
        for script, names in groupby(sorted(foreign, key=home.__getitem__), key=home.__getitem__)
    ]
    lines += [
        f"const {_variable(name)} = (() => {{\n{read[name].body}"
        f"return {{ {', '.join(read[name].exported)} }};\n}})();\n"
        for name in own
    ]
    lines.append(f"export const {{ {', '.join(read[entry].exported)} }} = {_variable(entry)};\n")
    if asked := [_variable(name) for name in own if name in abroad]:
        lines.append(f"export {{ {', '.join(asked)} }};\n")
    return "".join(lines)


def squeezed(style: str) -> str:
    """Return a style sheet without its comments and the space between its signs."""
    return _CSS_SPACE.sub(r"\1", _CSS_COMMENTS.sub("", style))


def _renamed(names: str) -> str:
    return names.replace(" as ", ": ")


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))
