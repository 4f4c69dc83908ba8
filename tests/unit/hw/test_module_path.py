"""What the process that tasks are forked of gets of its user's environment."""

from __future__ import annotations

from hw.module_path import bare_environment


def test_what_python_goes_by_alone_is_left() -> None:
    theirs = {
        "PYTHONUTF8": "1",
        "LD_LIBRARY_PATH": "/opt",
        "LC_ALL": "C.UTF-8",
        "HOME": "/home/ada",
        "LANG": "C",
        "TZ": "UTC",
    }
    secret = {
        "API_TOKEN": "x",
        "PATH": "/bin",
        "SEL4PY_RUNTIME_DIR": "/run",
        "HOMEBREW_TOKEN": "x",
        "SSH_AUTH_SOCK": "/s",
    }
    assert bare_environment({**theirs, **secret}).keys() == {*theirs, "PYTHONPATH", "PYTHONUNBUFFERED"}
