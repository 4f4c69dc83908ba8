"""Looks for modules and classes by reading files only: checking a description runs nothing that it names."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parent.parent
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_SOURCE_LIMIT: Final = 1 << 20  # bytes; larger files are nobody's component


@dataclass(frozen=True)
class ModulePath:
    """Where a system's images are looked for: the description's own ``paths`` first, then Python's and this tree."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, own: Iterable[Path]) -> ModulePath:
        return cls((*own, TREE, *(Path(folder) for folder in sys.path if folder)))

    def find(self, module: str) -> Path | None:
        """The source file of ``module``, or None. Raises ValueError if that is no module name."""
        if not _MODULE.fullmatch(module):
            raise ValueError(f"{module!r} is no module name")
        parts = module.split(".")
        for folder in self.folders:
            base = folder.joinpath(*parts)
            for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
                if candidate.is_file():
                    return candidate
        return None

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
