"""`check` and `up` see the same modules: where two have one name, both take the same one."""

from __future__ import annotations

import subprocess
import tabnanny
from pathlib import Path

import pytest

from deploy.description import load
from deploy.modules import ModulePath
from deploy.problems import BadDescription
from hw.module_path import python_command, python_environment

# What the zygote does before it imports images (kerneld/host/zygote.py).
ASK = """
import importlib.util, sys
sys.path.extend(sys.argv[1:2])
for name in sys.argv[2:]:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    print(spec.origin if spec and str(spec.origin).endswith(".py") else None)
"""
OWN = (
    "mine.py",
    "tabnanny.py",  # Python has one
    "time.py",  # Python has one that is no file
    "servers/console/main.py",  # this tree has one
    "servers/mine.py",  # inside a package that this tree has
    "space/part.py",  # a package without __init__
    "package/__init__.py",
    "package/inner/__init__.py",
    "package/inner/leaf.py",
    "docs/text.py",  # a folder of this tree that is no package
)
NAMES = tuple(file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in OWN)
ELSEWHERE = ("stray", "servers.names.main", "json.decoder", "no_such_module", "package.none", "mine.none")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for file in OWN:
        path = tmp_path / "own" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def main() -> None: ...\n")
    return tmp_path / "own"


def test_the_check_finds_what_the_zygote_imports(own: Path, tmp_path: Path) -> None:
    (tmp_path / "stray.py").touch()  # in the working folder, which nobody named
    (tmp_path / "asyncio.py").write_text("raise SystemExit('a file of the working folder was imported')\n")
    names = (*NAMES, *ELSEWHERE)
    asked = subprocess.run(
        python_command("-c", ASK, str(own), *names),
        env=python_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = ModulePath.of([own])
    found = {name: str(modules.find(name)) for name in names}
    assert found == dict(zip(names, asked.stdout.splitlines(), strict=True))
    assert found["mine"] == str(own / "mine.py")
    assert found["tabnanny"] == tabnanny.__file__
    assert found["servers.mine"] == found["stray"] == "None"


def test_a_module_that_another_one_hides_is_refused(own: Path) -> None:
    """Accepted by its own file, another one would have run."""
    hidden = {name for name in NAMES if ModulePath.of([own]).hidden(name)}
    assert hidden == {"tabnanny", "time", "servers.console.main", "servers.mine"}
    for name in hidden:
        path = own / "system.toml"
        path.write_text(f'[system]\npaths = ["."]\n\n[task.candidate]\nimage = "{name}"\n')
        with pytest.raises(BadDescription, match=r"system.toml:5: .* is not what Python finds as module"):
            load(path)


def test_the_same_folder_by_two_ways_hides_nothing(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(own / "package" / ".."))
    assert ModulePath.of([own]).hidden("mine") is None
