"""A second project beside the one whose modules have their plain names: its own are in a package of its own.

    first project    sys.modules["model"], ["helper"]                          its folder is on sys.path
    guest            sys.modules["reactor_project_2.model"], [".helper"]        its folder is that package's path

Two projects in one process may both have a `model.py`. Python knows one module by that name, and an `import`
inside a function may come at any time; so a guest's sources are read with the imports of their own folder's
modules written out in full, and everything that goes by a module's name (dataclasses, pydantic, pickle) finds the
right one. What is imported by a name made at run time is not seen. Only in-process hosts have guests.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "reactor_project_"
_numbers = itertools.count(2)


class Guest:
    """One project's package. Made, used and closed under the lock of `author_module`."""

    def __init__(self, folder: Path, *root: Path, top: str = "") -> None:
        """`root`: where the package `top` lies that the folder belongs to, if it does; there, only that is its own."""
        self._folder = folder
        self._top = top
        self.package = f"{_PREFIX}{next(_numbers)}"
        module = ModuleType(self.package)
        module.__path__ = [str(folder), *map(str, root)]
        module.__spec__ = ModuleSpec(self.package, None, is_package=True)
        module.__spec__.submodule_search_locations = module.__path__
        sys.modules[self.package] = module
        self._finder = _Finder(self)
        sys.meta_path.insert(0, self._finder)

    def full_name(self, name: str) -> str:
        return f"{self.package}.{name}"

    def plain_name(self, name: str) -> str:
        return name.removeprefix(self.package + ".")

    def owns(self, name: str) -> bool:
        """Whether the folder has a module of this name."""
        top = name.partition(".")[0]
        return top == self._top or (self._folder / f"{top}.py").is_file() or (self._folder / top).is_dir()

    def close(self) -> None:
        """Forget its modules; its classes and functions live on while someone has them."""
        sys.meta_path.remove(self._finder)
        for name in [
            name for name in sys.modules if name == self.package or name.startswith(self.package + ".")
        ]:
            del sys.modules[name]


class _Finder:
    """Finds what is in a guest's folder, as `importlib.abc.MetaPathFinder` says."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self._guest.package + "."):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(self._guest, fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, guest: Guest, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._guest = guest

    def get_code(self, fullname: str) -> Any:
        # Compiled each time: the cache beside the file is that of the plain module.
        path = self.get_filename(fullname)
        tree = _InFull(self._guest).visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _InFull(ast.NodeTransformer):
    """Writes out imports of the guest's own modules."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 0 and node.module and self._guest.owns(node.module):
            node.module = self._guest.full_name(node.module)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.AST]:
        written: list[ast.AST] = []
        for alias in node.names:
            if not self._guest.owns(alias.name):
                written.append(ast.Import([alias]))
                continue
            full = self._guest.full_name(alias.name)
            if alias.asname:
                written.append(ast.Import([ast.alias(full, alias.asname)]))
                continue
            # `import a.b` binds a.
            top = alias.name.partition(".")[0]
            if top != alias.name:
                written.append(ast.Import([ast.alias(full, "_")]))
            written.append(ast.ImportFrom(self._guest.package, [ast.alias(top)], 0))
        for each in written:
            ast.copy_location(each, node)
        return written
