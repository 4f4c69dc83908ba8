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
    return _classes(source, source.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _classes(source: Path, _changed: int) -> Sequence[str]:
    if source.stat().st_size > _SOURCE_LIMIT:
        return ()
    try:
        body = ast.parse(source.read_bytes()).body
    except (SyntaxError, ValueError):
        return ()
    names = [node.name for node in body if isinstance(node, ast.ClassDef)]
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names.extend(alias.asname or alias.name for alias in node.names)
    return tuple(names)
