"""Where the code of a system's tasks is: what a task may read, and nothing else of the host's files.

The interpreter with its libraries, the packages that are installed for it, the shared libraries of the host, the
packages from which something was imported before the first task began (boot images among them), and the folders that
the system's description names. A module that none of these holds must be imported at the top of the image.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Final

LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_SCHEME: Final = ("stdlib", "platstdlib", "purelib", "platlib")


def code_paths(added: Iterable[str] = ()) -> list[str]:
    """Files and folders, without links and those inside others; ``added`` are a system's own folders."""
    real = {path.resolve() for path in code_places(added)}
    return sorted(str(path) for path in real if not any(parent in real for parent in path.parents))


def code_places(added: Iterable[str] = ()) -> list[Path]:
    """The same as they are named, by links too, and some inside others."""
    found = {Path(sys.base_prefix, "lib"), *map(Path, LIBRARIES), *map(Path, added)}
    found |= {Path(sysconfig.get_path(name)) for name in _SCHEME}
    found |= {path for name, module in list(sys.modules.items()) if "." not in name for path in _places(module)}
    return sorted(path.absolute() for path in found)


def _places(module: ModuleType) -> list[Path]:
    """A package's folders, or a module's file; none for what is built in."""
    folders = getattr(module, "__path__", None)
    if folders is not None:
        return [Path(folder) for folder in folders]
    file = getattr(module, "__file__", None)
    return [Path(file)] if isinstance(file, str) else []
