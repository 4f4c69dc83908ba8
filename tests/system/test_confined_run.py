"""`sel4py run --confined`: a program that nobody trusts, on files of this host."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hw import code_tree
from tests.system.supervisor import Supervisor

WORKS = """
import os, sys
print("arguments", *sys.argv[1:])
print("typed", sys.stdin.read(), file=sys.stderr)
with open("out", "w") as out, open("in") as text:
    out.write(text.read().upper())
for act in (lambda: open("in", "w"), lambda: open("/etc/hostname"), lambda: open("secret")):
    try:
        act()
    except OSError as error:
        print(type(error).__name__)
    else:
        print("it did")
sys.exit(7)
"""
THREADS = """
import asyncio, logging, os, pathlib, sys, threading
def work(number):
    print("thread", number, pathlib.Path("dir", "leaf").read_text())
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
async def main():
    await asyncio.gather(asyncio.to_thread(work, 8), asyncio.sleep(0))
asyncio.run(main())
print(sorted(entry.name for entry in os.scandir("dir")), os.path.getsize("dir/leaf"), sorted(os.listdir()))
logging.warning("told")
sys.stdout.write("x" * 3_000_000)
raise KeyError("end")
"""


def test_a_program_has_what_it_was_given_and_its_status_is_the_commands(sel4py: Supervisor, tmp_path: Path) -> None:
    script, source, target = tmp_path / "works.py", tmp_path / "source", tmp_path / "target"
    script.write_text(WORKS)
    own = sel4py.folder / "deep" / "own"  # it is made, for this user alone
    sel4py.environment["SEL4PY_RUNTIME_DIR"] = str(own)
    source.write_text("text")
    (tmp_path / "secret").write_text("nobody's")
    done = sel4py.run(
        "run", "--confined", script, "--give", f"in={source}:ro", "--give", f"out={target}:rw", "--", "a", "--b",
        typed=b"keys",
    )  # fmt: skip
    assert done.status == 7, done
    of_host = "FileNotFoundError" if code_tree.permitted(tmp_path) else "PermissionError"
    refused = ["PermissionError", of_host, "FileNotFoundError"]
    assert done.output.splitlines() == ["arguments a --b", *refused]
    assert done.error == "typed keys\n"
    assert target.read_text() == "TEXT"
    assert own.stat().st_mode & 0o777 == 0o700
    assert list(own.iterdir()) == []


@pytest.mark.slow
def test_threads_event_loops_folders_and_large_output_work(sel4py: Supervisor, tmp_path: Path) -> None:
    script = tmp_path / "threads.py"
    script.write_text(THREADS)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "leaf").write_text("leaf")
    done = sel4py.run("run", "--confined", script, "--give", f"dir={tmp_path / 'tree'}:ro")
    lines = done.output.splitlines()
    assert sorted(lines[:9]) == [f"thread {number} leaf" for number in range(9)]
    assert lines[9:] == ["['leaf'] 4 ['dir']", "x" * 3_000_000]
    assert done.status == 1
    assert done.error.startswith("WARNING:root:told\nTraceback")
    assert done.error.endswith("    raise KeyError(\"end\")\nKeyError: 'end'\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "options", "status", "reason"),
    [
        ("while True: pass", ("--timeout", "1s"), 124, "its time was up"),
        ("import os; os._exit(0)", (), 1, "without coming to its end"),
        ("import ctypes; ctypes.string_at(0)", (), 139, "without coming to its end"),
    ],
)
def test_a_program_that_does_not_end_by_itself_has_written_nothing(
    text: str, options: tuple[str, ...], status: int, reason: str, sel4py: Supervisor, tmp_path: Path
) -> None:
    script, target = tmp_path / "s.py", tmp_path / "target"
    script.write_text(f"with open('out', 'w') as out: out.write('half')\n{text}\n")
    target.write_text("former")
    done = sel4py.run("run", "--confined", script, "--give", f"out={target}:rw", *options, "--json")
    result = done.json()["result"]
    assert isinstance(result, dict)
    assert (done.status, result["by_itself"], result["written"]) == (status, False, [])
    assert reason in str(result["reason"])
    assert target.read_text() == "former"


@pytest.mark.slow
@pytest.mark.parametrize(("kibibytes", "fits"), [(512, True), (12 << 10, False)])
def test_files_that_have_not_all_that_was_written_replace_none(
    kibibytes: int, fits: bool, sel4py: Supervisor, tmp_path: Path
) -> None:
    """The program hears nothing of it: what it wrote is flushed behind its end."""
    script, target = tmp_path / "fills.py", tmp_path / "target"
    script.write_text(f"out = open('out', 'wb', buffering=16 << 20)\nout.write(bytes({kibibytes} << 10))\n")
    target.write_text("good")
    done = sel4py.run("run", "--confined", script, "--give", f"out={target}:rw", "--room", "1M")
    assert (not done.status) == fits, done
    assert ("no file was written" not in done.error) == fits, done
    assert target.stat().st_size == (kibibytes << 10 if fits else len("good"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_leaves_nothing(number: signal.Signals, sel4py: Supervisor, tmp_path: Path) -> None:
    script, target = tmp_path / "s.py", tmp_path / "target"
    script.write_text("open('out', 'w').write('half')\nprint('here', flush=True)\ninput()\n")
    target.write_text("former")
    process = sel4py.start("run", "--confined", script, "--give", f"out={target}:rw")
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    process.send_signal(number)
    assert process.wait(30) == 130
    assert target.read_text() == "former"
    assert list(sel4py.folder.iterdir()) == []


@pytest.mark.slow
def test_memory_is_what_was_given(sel4py: Supervisor, tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "held = []\ntry:\n    while True: held.append(bytearray(1 << 20))\nexcept MemoryError:\n"
        "    count = len(held); held.clear(); print(count)\n"
    )
    assert 8 <= int(sel4py.ok("run", "--confined", script, "--memory", "16M")) <= 16


@pytest.mark.slow
def test_a_share_of_a_processor_holds_for_all_threads_of_a_program(sel4py: Supervisor, tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "import hashlib, threading, time\n"
        "def work():\n"
        "    while time.monotonic() < end: hashlib.sha256(bytes(100_000))\n"
        "began, used = time.monotonic(), time.process_time()\n"
        "end = began + 3\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[each.start() for each in threads]\n"
        "[each.join() for each in threads]\n"
        "print((time.process_time() - used) / (time.monotonic() - began))\n"
    )
    assert float(sel4py.ok("run", "--confined", script, "--cpu", "20%")) <= 0.24


@pytest.mark.slow
@pytest.mark.parametrize("text", ["socket.socket()", "subprocess.run(['true'])"])
def test_what_is_not_given_ends_a_program_or_is_refused(text: str, sel4py: Supervisor, tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(f"import os, socket, subprocess\ntry:\n    {text}\nexcept OSError:\n    raise SystemExit(9)\n")
    done = sel4py.run("run", "--confined", script, "--json")
    assert done.status not in (0, 1), done
