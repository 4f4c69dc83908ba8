"""What ``sel4py new NAME`` writes: a component that runs at once, small enough to be read at one sitting.

Rules: the server has at most 30 lines; the folder appears whole or not at all; the name can become a Python package
that hides no other.
"""

from __future__ import annotations

import keyword
import os
import shutil
import sys
import tempfile
from importlib.machinery import PathFinder
from pathlib import Path
from string import Template
from typing import Final

from deploy.names import NAME_PATTERN
from deploy.runtime import RuntimeRefused
from hw.module_path import TREE

_INTERFACE: Final = '''\
"""What $name answers: the one module that its clients import."""

# mypy: disable-error-code="empty-body"

from libsel4py import Interface


class $title(Interface):
    """Greets."""

    def greet(self, name: str) -> str:
        """A greeting for ``name``."""
'''

_MAIN: Final = '''\
"""The server $name: answers $name.interface.$title. It holds no capability but its own endpoint."""

from libsel4py import component

from $name.interface import $title


@component
class Main($title):
    """One object answers all clients; its attributes are the server's state."""

    def __init__(self) -> None:
        self.greeted = 0

    def greet(self, name: str) -> str:
        self.greeted += 1
        return f"hello {name}, you are number {self.greeted}"
'''

_TEST: Final = '''\
"""Tests of $name: the server and its client as they are, with a kernel that is played."""

from libsel4py.testing import connect

from $name.main import Main


def test_greets_by_name() -> None:
    with connect(Main) as client:
        assert client.greet("world") == "hello world, you are number 1"


def test_counts_its_greetings() -> None:
    with connect(Main) as client:
        client.greet("one")
        assert client.greet("two") == "hello two, you are number 2"
'''

_SYSTEM: Final = """\
# $name, and a shell to call it from. Run with: sel4py up $folder/system.toml

[system]
name = "$name"
paths = ["."] # where $name.main is found

[machine]
ram = "512M"

[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4
backend = "stdio"

[task.serial]
image = "servers.serial.main"
priority = 200
provides = { serial = "libsel4py.interfaces.serial:Serial" }
devices = { uart = "uart0" }

[task.console]
image = "servers.console.main"
priority = 190
provides = { console = "libsel4py.interfaces.console:Console" }
threads = 1 # one waits for what is typed, one answers clients
uses = { serial = "serial.serial" }

[task.names]
image = "servers.names.main"
priority = 180
provides = { names = "libsel4py.interfaces.names:Names" }

[task.$name]
image = "$name.main"
provides = { $name = "$name.interface:$title" }

[task.shell]
image = "apps.shell.main"
threads = 1 # it waits for Ctrl-C while a command runs
essential = true # the system ends when the shell does
uses = { console = "console.console", names = "names.names" }
names = { $name = "$name.$name" } # what the shell can look up
grants = ["system-information"]
"""

_README: Final = """\
# $name

A sel4py component.

    sel4py check $folder/system.toml    is the description right?
    sel4py up $folder/system.toml       run it, with a shell
    python -m pytest $folder            its tests

In the shell, `call $name greet world` calls it.

- `$name/interface.py`: what it answers. Clients import this and nothing else.
- `$name/main.py`: the server.
- `system.toml`: what it holds. A capability that is not written there, it does not have.

Needs: nothing but its endpoint. To let it use another task, add `uses = { console = "console.console" }` to
`[task.$name]`.
"""

_FILES: Final = {
    "README.md": _README,
    "system.toml": _SYSTEM,
    "$name/__init__.py": '"""The component $name."""\n',
    "$name/interface.py": _INTERFACE,
    "$name/main.py": _MAIN,
    "test_$name.py": _TEST,
}


def ensure_usable(name: str) -> None:
    """Raises RuntimeRefused unless ``name`` can be a task, and a package that hides no other module."""
    if not NAME_PATTERN.fullmatch(name) or "-" in name or keyword.iskeyword(name):
        raise RuntimeRefused(
            f"a component cannot be called {name!r}; its name is a Python package's: "
            "a small letter, then up to 31 small letters, digits or _"
        )
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, [str(TREE), *sys.path[1:]]):
        raise RuntimeRefused(f"{name!r} would hide the Python module of that name; try {name}_server")


def scaffold(folder: Path) -> list[Path]:
    """Writes a component into ``folder``, which must not exist; its last part is the component's name.

    Returns the files. Raises RuntimeRefused if the name cannot be used, FileExistsError if the folder is there.
    """
    name = folder.name
    # First: in the tree itself, a component that is there would be refused as one that hides its own package.
    if folder.exists() and name:
        raise FileExistsError(f"{folder} is there already; choose another name, or remove it")
    ensure_usable(name)
    if not folder.parent.is_dir():
        raise RuntimeRefused(f"there is no folder {folder.parent} to write {name} into; make it first")
    title = "".join(part.capitalize() for part in name.split("_"))
    words = {"name": name, "title": title, "folder": str(folder)}
    building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        for path, text in _FILES.items():
            target = building / Template(path).substitute(words)
            target.parent.mkdir(exist_ok=True)
            target.write_text(Template(text).substitute(words), encoding="utf-8")
        building.chmod(0o777 & ~_umask())
        os.rename(building, folder)
    except BaseException:
        shutil.rmtree(building)
        raise
    return [folder / Template(path).substitute(words) for path in _FILES]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
