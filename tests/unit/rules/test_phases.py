"""The kernel's phases hold in the source: decode never stores, perform never refuses (DESIGN.md section 4)."""

import ast
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[3] / "kerneld"
FILES = sorted((KERNEL / "objects").glob("[a-z]*.py"))
REFUSALS = {
    "SyscallError",
    "LookupFailure",
    "Fault",
    "invalid_argument",
    "invalid_capability",
    "illegal_operation",
    "range_error",
    "truncated_message",
}
STORES = {"set_word", "write", "poke", "zero", "tell", "set_state", "complete", "insert", "insert_new", "move", "swap"}


def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def called_name(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def stores(function: ast.FunctionDef) -> list[int]:
    """Lines that store to an attribute or an item, or call a function that stores."""
    lines = []
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        match node:
            case ast.Assign():
                targets = list(node.targets)
            case ast.AugAssign() | ast.AnnAssign():
                targets = [node.target]
            case ast.Call() if called_name(node) in STORES:
                lines.append(node.lineno)
        lines += [node.lineno for target in targets if isinstance(target, ast.Attribute | ast.Subscript)]
    return lines


def refusals(function: ast.FunctionDef) -> list[int]:
    """Lines that raise one of the kernel's refusals."""
    lines = []
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc
            name = called_name(raised) if isinstance(raised, ast.Call) else getattr(raised, "id", "")
            if name in REFUSALS:
                lines.append(node.lineno)
    return lines


def test_there_is_something_to_check() -> None:
    names = {path.stem for path in FILES}
    assert {"untyped", "cnode", "tcb", "endpoint", "notification", "reply", "sched_context", "frame"} <= names
    assert any(function.name.startswith("decode") for path in FILES for function in functions(path))
    assert any(function.name == "perform" for path in FILES for function in functions(path))


def test_the_rules_can_be_broken() -> None:
    broken = ast.parse(
        "def decode_x(core, call):\n    call.slot.word0 = 1\ndef perform(self, core):\n    raise SyscallError(1)"
    )
    decode, perform = (node for node in broken.body if isinstance(node, ast.FunctionDef))
    assert stores(decode) == [2]
    assert refusals(perform) == [4]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_decode_never_stores(path: Path) -> None:
    for function in functions(path):
        if function.name == "decode" or function.name.startswith(("decode_", "_decode")):
            assert not stores(function), f"{path.name}: {function.name} stores in lines {stores(function)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_perform_never_refuses(path: Path) -> None:
    for function in functions(path):
        if function.name == "perform" or function.name.startswith(("perform_", "_perform")):
            assert not refusals(function), f"{path.name}: {function.name} refuses in lines {refusals(function)}"


def test_the_pure_kernel_imports_nothing_of_linux() -> None:
    allowed_outside = {"entry.py", "__main__.py"}
    forbidden = {
        "os",
        "socket",
        "mmap",
        "signal",
        "select",
        "subprocess",
        "asyncio",
        "uvloop",
        "zmq",
        "fcntl",
        "ctypes",
    }
    pure = [path for path in [*KERNEL.glob("*.py"), *FILES] if path.name not in allowed_outside]
    assert len(pure) > 15
    for path in pure:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.partition(".")[0] for name in names}
            assert not roots & forbidden, f"{path.name} imports {roots & forbidden}"
            assert not any(name.startswith("kerneld.host") for name in names), path.name
