"""What the check says of a module that a task is to run, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.description import load
from deploy.problems import BadDescription

RUNNABLE = {
    "a function": "def main() -> None: ...",
    "a decorated class": "from libsel4py import component\n@component\nclass Main: ...",
    "an assignment": "main = print",
    "an import": "from elsewhere import main",
    "all of another module": "from elsewhere import *",
    "a condition": "if True:\n    def main() -> None: ...",
    "a call": "component(print)",
    "nothing, which may be anything": "",
}
NO_COMPONENT = {
    "a docstring": '"""Nothing."""',
    "a class that lacks its decorator": "from libsel4py import Component\nclass Main(Component): ...",
    "an assignment of something else": "x = 1",
}


def describe(folder: Path, source: str) -> Path:
    (folder / "candidate.py").write_text(source)
    path = folder / "system.toml"
    path.write_text('[system]\npaths = ["."]\n\n[task.candidate]\nimage = "candidate"\n')
    return path


@pytest.mark.parametrize("source", RUNNABLE.values(), ids=RUNNABLE)
def test_what_may_have_a_main_is_accepted(tmp_path: Path, source: str) -> None:
    assert load(describe(tmp_path, source)).system.task("candidate").image == "candidate"


@pytest.mark.parametrize("source", NO_COMPONENT.values(), ids=NO_COMPONENT)
def test_a_module_without_a_component_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(BadDescription, match=r":5: .*no component; write @component above its class") as refusal:
        load(describe(tmp_path, source))
    assert len(refusal.value.problems) == 1


def test_a_module_that_is_no_python_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadDescription, match=r"system.toml:5: .*candidate\.py, line 2: invalid syntax") as refusal:
        load(describe(tmp_path, "x = 1\ndef main(:\n    pass\n"))
    assert len(refusal.value.problems) == 1
