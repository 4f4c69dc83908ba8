"""The façade: names load on first use, and the ABI table alone loads nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import libsel4py


def _modules_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*[name for name in sys.modules if name.split('.')[0] in ('libsel4py', 'hw')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_root())
    return set(done.stdout.split())


def _root() -> str:
    return libsel4py.__path__[0].rpartition("/")[0]


def test_importing_the_abi_loads_nothing_else() -> None:
    assert _modules_after("import libsel4py.abi") == {"libsel4py", "libsel4py.abi"}


def test_the_whole_sdk_loads_without_the_machine() -> None:
    loaded = _modules_after("import libsel4py.runtime, libsel4py.aio, libsel4py.testing")
    assert "libsel4py.lowlevel.syscalls" in loaded
    assert not {name for name in loaded if name.split(".")[0] == "hw"}


@pytest.mark.parametrize("name", libsel4py.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(libsel4py, name) is not None


def test_the_component_decorator_is_not_hidden_by_a_module() -> None:
    import libsel4py.runtime

    assert libsel4py.component is libsel4py.runtime.component


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="libsel4py has no 'Thread'"):
        libsel4py.Thread  # noqa: B018


def test_dir_lists_public_names() -> None:
    assert set(libsel4py.__all__) <= set(dir(libsel4py))
