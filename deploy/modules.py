"""Looks for modules and classes by reading files only: checking a description runs nothing that it names."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from hw.module_path import TREE, module_path

_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_NAME_LIMIT: Final = 255  # letters, as of a file's name
_SOURCE_LIMIT: Final = 1 << 20  # bytes; larger files are nobody's component


@dataclass(frozen=True)
class ModulePath:
    """Where a system's images are looked for, first to last, ``own`` at the end: as its zygote does."""

    folders: tuple[Path, ...]
    own: tuple[Path, ...] = ()

    @classmethod
    def of(cls, own: Iterable[Path]) -> ModulePath:
        importlib.invalidate_caches()
        mine = tuple(own)
        return cls((*map(Path, module_path()), *mine), mine)

    def find(self, module: str) -> Path | None:
        """The source file of ``module``, or None. Raises ValueError if that is no module name.

        By Python's own finder, part by part, since a package in one folder hides that of the same name in a later one.
        """
        found = _find(module, self.folders)
        return None if module.partition(".")[0] in sys.builtin_module_names else found

    def hidden(self, module: str) -> Path | None:
        """The system's own source file of that name which Python does not find, because another stands before it."""
        mine, found = _find(module, self.own), self.find(module)
        return None if mine is None or (found is not None and mine.samefile(found)) else mine

    def siblings(self, module: str) -> list[str]:
        """Modules that could have been meant: those of the same package, or one level down."""
        *package, _ = module.split(".")
        found = []
        for folder in self.folders:
            base = folder.joinpath(*package)
            for source in (*base.glob("*.py"), *base.glob("*/main.py")) if package or folder != TREE else ():
                parts = source.relative_to(base).with_suffix("").parts
                if parts[-1] != "__init__":
                    found.append(".".join((*package, *parts)))
        return found


def _find(module: str, folders: Iterable[Path]) -> Path | None:
    if len(module) > _NAME_LIMIT or not _MODULE.fullmatch(module):
        raise ValueError(f"{module!r} is no module name")
    parts = module.split(".")
    path = [str(folder) for folder in folders]
    origin: str | None = None
    for part in parts:
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return None
        path, origin = list(spec.submodule_search_locations or ()), spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def classes(source: Path) -> Sequence[str]:
    """Names of the classes that stand at the top of a source file, or that it imports; none if it cannot be parsed."""
    names = []
    for node in _body(source):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.extend(alias.asname or alias.name for alias in node.names)
    return tuple(names)


def syntax_error(source: Path) -> str | None:
    """What Python would say about a source file, such as ``line 7: invalid syntax``; None if it can be parsed."""
    parsed = _parse(source, source.stat().st_mtime_ns)
    return parsed if isinstance(parsed, str) else None


def may_be_image(source: Path) -> bool:
    """Whether a source file can have a ``main``: it binds the name, decorates a class, or does what needs a look."""
    body = _body(source)
    return not body or any(map(_may_bind_main, body))


def _may_bind_main(node: ast.stmt) -> bool:
    match node:
        case ast.FunctionDef(name="main") | ast.ClassDef(decorator_list=[_, *_]):
            return True
        case ast.Assign() | ast.AnnAssign():
            return any(isinstance(each, ast.Name) and each.id == "main" for each in ast.walk(node))
        case ast.ImportFrom(names=names):
            return any((alias.asname or alias.name) in ("main", "*") for alias in names)
    # Calls, conditions and the like may do anything; a docstring, an import or a plain class does not.
    return isinstance(node, ast.If | ast.Try | ast.With | ast.For) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    )


def _body(source: Path) -> Sequence[ast.stmt]:
    parsed = _parse(source, source.stat().st_mtime_ns)
    return () if isinstance(parsed, str) else parsed


@lru_cache(maxsize=256)
def _parse(source: Path, _changed: int) -> Sequence[ast.stmt] | str:
    """The statements of a source file; none of one that is too large; of one that cannot be parsed the reason."""
    if source.stat().st_size > _SOURCE_LIMIT:
        return ()
    try:
        return ast.parse(source.read_bytes()).body
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except ValueError as error:
        return str(error)
