"""The guides' programs, followed to the letter: made by `sel4py new`, written as the page has them, booted, asked."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from pathlib import Path

from tests.system.supervisor import PROMPT, ROOT, Supervisor

GUIDE = ROOT / "docs" / "guide"
BY_REGISTERS = """from libsel4py import component

from reader.interface import Reader


@component
class Main(Reader):
    def sectors(self):
        self.show()
        return 128

    def line(self, sector):
        return ""

    def show(self):
"""
TASK = r"(?ms)^\[task\.%s\]\n.*?\n\n"


def blocks(page: str, language: str) -> list[str]:
    text = (GUIDE / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def made(sel4py: Supervisor, folder: Path, tables: str) -> Path:
    """The folder that `sel4py new` makes, with the page's tables in the place of its task of the same name."""
    sel4py.ok("new", folder)
    description = folder / "system.toml"
    text, count = re.subn(TASK % folder.name, lambda _: tables + "\n", description.read_text(encoding="utf-8"))
    assert count == 1
    description.write_text(text, encoding="utf-8")
    return folder


def dialogue(page: str) -> list[tuple[str, str]]:
    """What is typed at the shell in the page's text, each with what it answers."""
    (text,) = [each for each in blocks(page, "text") if each.startswith(PROMPT.decode())]
    return [(line.partition("\n")[0], line.partition("\n")[2]) for line in text.split(PROMPT.decode())[1:]]


def test_the_driver_reads_its_disk_before_and_after_its_death(sel4py: Supervisor, tmp_path: Path) -> None:
    (tables,), (interface, driver, _) = blocks("drivers.md", "toml"), blocks("drivers.md", "python")
    folder = made(sel4py, tmp_path / "reader", tables)
    (folder / "reader" / "interface.py").write_text(interface, encoding="utf-8")
    (folder / "reader" / "main.py").write_text(driver, encoding="utf-8")
    (folder / "disk.img").write_bytes(b"hello from the disk\n".ljust(64 << 10, b"\0"))
    talk = dialogue("drivers.md")
    typed_in = "".join(f"{typed}\n" for typed, _ in talk).encode()
    shown = sel4py.ok("up", folder, typed=typed_in).replace("\r\n", "\n")
    for typed, answer in talk:
        assert f"{PROMPT.decode()}{typed}\n{answer}" in shown, shown
    assert [shlex.split(typed)[0] for typed, _ in talk].count("kill") == 1


def test_registers_are_loaded_and_stored_in_memory(sel4py: Supervisor, tmp_path: Path) -> None:
    """The page's example, as what a method of the page's driver does."""
    (tables,), (interface, _, example) = blocks("drivers.md", "toml"), blocks("drivers.md", "python")
    folder = made(sel4py, tmp_path / "reader", tables.replace("irq = 5", "irq = 5\nmaps_registers = true"))
    (folder / "reader" / "interface.py").write_text(interface, encoding="utf-8")
    (folder / "reader" / "main.py").write_text(BY_REGISTERS + textwrap.indent(example, " " * 8), encoding="utf-8")
    shown = sel4py.ok("up", folder, typed=b"call reader sectors\nexit\n").replace("\r\n", "\n")
    assert f"{PROMPT.decode()}call reader sectors\n128\n" in shown, shown


def test_the_pager_computes_what_its_task_reads(sel4py: Supervisor, tmp_path: Path) -> None:
    tables = next(each for each in blocks("memory_managers.md", "toml") if "[task.worker]" in each)
    pager, worker = (each for each in blocks("memory_managers.md", "python") if "@component" in each)
    folder = made(sel4py, tmp_path / "table", tables)
    description = folder / "system.toml"
    text, named = description.read_text(encoding="utf-8"), '{ table = "table.table" }'
    assert named in text
    description.write_text(text.replace(named, '{ pager = "pager.pager" }'), encoding="utf-8")
    (folder / "table" / "main.py").write_text(pager, encoding="utf-8")
    (folder / "table" / "worker.py").write_text(worker, encoding="utf-8")
    (typed,) = (typed for typed, _ in dialogue("memory_managers.md"))
    terminal = sel4py.terminal("up", folder)
    terminal.until(PROMPT)
    while True:  # the worker runs beside the shell
        terminal.type(typed.encode() + b"\r")
        found = json.loads(terminal.until(PROMPT).decode().partition("\n")[2].removesuffix(PROMPT.decode()))
        if found["passed_on"]:  # its end
            break
    assert (found["faults"], found["mapped"], found["ahead"], found["refused"]) == (2, 8, 7, 0)
    assert f"the square of 100000 is {100000**2}" in sel4py.ok("logs", "worker")
    terminal.type(b"exit\r")
    assert terminal.wait() == 0


def test_the_bank_is_killed_and_no_deposit_is_lost_or_made_twice(sel4py: Supervisor, tmp_path: Path) -> None:
    tables = next(each for each in blocks("resource_pools.md", "toml") if "[task.bank]" in each)
    found = [
        each for each in blocks("resource_pools.md", "python") if "bank.interface" in each or "class Bank(" in each
    ]
    folder = made(sel4py, tmp_path / "bank", tables)
    for name, text in zip(("interface", "main", "client"), found, strict=True):
        (folder / "bank" / f"{name}.py").write_text(text, encoding="utf-8")
    sel4py.ok("up", folder, "--detach")
    while "0 deposited, and there is 0" not in sel4py.run("logs", "client").output:  # nor is there a log at first
        pass
    sel4py.ok("kill", "bank")
    while any(row["name"] == "client" for row in sel4py.rows("ps")):
        pass
    first, second = (re.findall(r"\d+", line) for line in sel4py.ok("logs", "client").splitlines())
    assert first == ["0", "0"]
    assert second[0] == second[1]
    sel4py.ok("down")


def files_guide(sel4py: Supervisor, folder: Path, typed: str) -> str:
    """What the shell answers when the program of the page about files, in the folder of its task, has ended."""
    page = (GUIDE / "files.md").read_text(encoding="utf-8")
    name = folder.name
    pairs = re.findall(r"(?ms)^```python\n((?:(?!^```).)*)^```\n\n^```toml\n((?:(?!^```).)*)^```", page)
    ((program, tables),) = [pair for pair in pairs if f"[task.{name}]" in pair[1]]
    made(sel4py, folder, tables.replace(f"apps.{name}.main", f"{name}.main"))
    description = folder / "system.toml"
    text = re.sub(r"(?m)^names = .*$", 'memory = "64M"\npool = "4M"', description.read_text(encoding="utf-8"))
    uses = 'names = "names.names"'
    assert text.count(uses) == 1
    text = text.replace(uses, f'{uses}, files = {{ from = "disk.root", rights = "wgp" }}')
    description.write_text(text, encoding="utf-8")
    (folder / name / "main.py").write_text(program, encoding="utf-8")
    terminal = sel4py.terminal("up", folder)
    terminal.until(PROMPT)
    while any(row["name"] == name for row in sel4py.rows("ps")):
        pass
    terminal.type(typed.encode() + b"\r")
    answer = terminal.until(PROMPT).decode().replace("\r", "")
    terminal.type(b"exit\r")
    assert terminal.wait() == 0, sel4py.run("logs", name).output
    return answer.partition("\n")[2].removesuffix(PROMPT.decode())


def test_a_program_writes_a_file(sel4py: Supervisor, tmp_path: Path) -> None:
    assert files_guide(sel4py, tmp_path / "editor", "cat notes.txt") == "hello\n"


def test_a_program_has_a_file_as_memory(sel4py: Supervisor, tmp_path: Path) -> None:
    assert re.search(r"(?m)^table +65536 ", files_guide(sel4py, tmp_path / "counter", "ls"))
