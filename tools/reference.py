"""Write docs/reference.md, what an author may use, from the docstrings of the source, so that it cannot rot.

Run it after a public docstring or signature has changed; tests/test_docs.py fails until then. Nothing is imported but
the list of names: signatures are shown as they are written.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import reactor_runtime

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference.md"
SOURCE = ROOT / "src" / "reactor_runtime"

#: The names in the order in which an author meets them.
NAMES = (
    "VideoModel",
    "command",
    "Show",
    "get_ctx",
    "InputFrame",
    "Image",
    "decode_base64_image",
    "load_weights",
    "CommandError",
    "FrameRejected",
    "SessionStopped",
)
#: What a function returns is told with it, where it is a class that has no public name.
RETURNED = {"get_ctx": ("running.context", "SessionContext")}
#: Methods that say this of themselves are not for authors.
NOT_FOR_AUTHORS = "For the runner"

TOP = """# Reference

Everything that a model may use, from the docstrings; `python tools/reference.py` writes this page. All names are
imported from `reactor_runtime`. [Convert your model](convert-your-model.md) shows how they fit together,
`reactor_runtime.testing` is in [Without a browser](headless.md#in-your-own-tests), and
[Compatibility](compatibility.md) says what stays as it is.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that has a name, a line of code and a text."""

    name: str
    code: str
    text: str


def page() -> str:
    """Return the whole page."""
    missing = set(reactor_runtime.__all__) - {*NAMES, "__version__"}
    assert not missing, f"tools/reference.py: say where {missing} goes"
    return "\n".join([TOP, *(section(name) for name in NAMES)])


def section(name: str) -> str:
    parts = list(described(reactor_runtime._HOME[name], name, level=2))
    if name in RETURNED:
        module, kind = RETURNED[name]
        parts += described(module, kind, level=3, shown=f"What `{name}()` returns")
    return "\n".join(parts)


def described(module: str, name: str, *, level: int, shown: str = "") -> Iterator[str]:
    """Yield the Markdown of a public name and, of a class, of its public members."""
    tree = ast.parse(SOURCE.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
    node, text = definition(tree, name)
    yield f"{'#' * level} {shown or f'`{name}`'}\n"
    if code := signature(node) if isinstance(node, ast.FunctionDef) else construction(node):
        yield f"```python\n{code}\n```\n"
    yield markdown(text)
    if isinstance(node, ast.ClassDef):
        for entry in members(node):
            yield f"{'#' * (level + 1)} `{entry.name}`\n\n```python\n{entry.code}\n```\n"
            if entry.text:
                yield markdown(entry.text)


def definition(tree: ast.Module, name: str) -> tuple[ast.stmt, str]:
    """Return where a module defines a name, and its docstring. Of overloads the last is shown."""
    found: tuple[ast.stmt, str] | None = None
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            text = ast.get_docstring(node) or ""
            found = (
                (node, text) if found is None or "overload" not in decorators(found[0]) else (found[0], text)
            )
            if "overload" in decorators(node):
                found = node, text
        elif isinstance(node, ast.AnnAssign | ast.Assign) and name in targets(node):
            found = node, text_after(tree.body, place)
    assert found is not None, f"{name} is not defined where it is imported from"
    return found


def members(node: ast.ClassDef) -> Iterator[Entry]:
    """Yield a class's own public fields, properties and methods, in order."""
    for place, each in enumerate(node.body):
        if isinstance(each, ast.AnnAssign):
            (name,) = targets(each)
            if not name.startswith("_") and "ClassVar" not in ast.unparse(each.annotation):
                yield Entry(name, ast.unparse(each), text_after(node.body, place))
        elif isinstance(each, ast.FunctionDef):
            text = ast.get_docstring(each) or ""
            if not each.name.startswith("_") and NOT_FOR_AUTHORS.lower() not in text.lower():
                yield Entry(each.name, signature(each), text)


def construction(node: ast.stmt) -> str:
    """Return how an error is made, which authors do themselves."""
    if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                return signature(each).replace("__init__", node.name)
    return ""


def targets(node: ast.AnnAssign | ast.Assign) -> list[str]:
    nodes = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return [each.id for each in nodes if isinstance(each, ast.Name)]


def text_after(body: list[ast.stmt], place: int) -> str:
    """Return the string that stands below an assignment."""
    following = body[place + 1] if place + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return inspect.cleandoc(str(following.value.value))
    return ""


def signature(node: ast.FunctionDef) -> str:
    """Return a function's first line, without `self`; a property's is its name and type."""
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): pass").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    positional = arguments.args.posonlyargs or arguments.args.args
    if positional and positional[0].arg == "self":
        positional.pop(0)
    returns = ast.unparse(node.returns) if node.returns is not None else "None"
    if "property" in decorators(node):
        return f"{node.name}: {returns}"
    ending = "" if returns == "None" else f" -> {returns}"
    spaced = re.sub(r"(: [^=,()]+)=", r"\1 = ", ast.unparse(arguments.args))
    return f"{node.name}({spaced}){ending}"


def decorators(node: ast.stmt) -> set[str]:
    listed = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return {each.id for each in listed if isinstance(each, ast.Name)}


def markdown(docstring: str) -> str:
    """Return a docstring's paragraphs; those laid out with spaces as they are."""
    paragraphs = re.split(r"\n{2,}", docstring.strip())
    return "\n\n".join(
        f"```text\n{paragraph}\n```" if re.search(r"^ {4}|\S {2,}\S", paragraph, re.MULTILINE) else paragraph
        for paragraph in paragraphs
    ) + ("\n" if docstring else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
