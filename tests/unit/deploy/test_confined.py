"""A confined run's parts: what is given, the disk by which it goes, the description, and the program's streams."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli import main
from deploy.confined import disk
from deploy.confined.gifts import BadRequest, Gift, parse, parse_all
from deploy.confined.relay import Kept, Relay, TimeIsUp, harmless
from deploy.confined.system import LINE, PROGRAM, Program, describe
from deploy.description import load
from deploy.disk import opened
from deploy.launch import LaunchOptions, launch
from deploy.runtime import RuntimeRefused
from libsel4py.streams import MTU, Stream, head, take_apart


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in", "write NAME=FILE:ro or NAME=FILE:rw"),
        ("in=file", "write NAME=FILE:ro or NAME=FILE:rw"),
        ("=file:ro", "write NAME=FILE:ro"),
        ("in=:ro", "write NAME=FILE:ro"),
        ("in=file:r", "'r' are no rights"),
        ("a/b=file:ro", "'a/b' is no name"),
        ("..=file:ro", "'..' is no name"),
        ("in=missing:ro", "there is no missing"),
        ("out=missing/file:rw", "cannot be made"),
        ("dir=folder:rw", "a folder is given to read alone"),
        ("pipe=pipe:ro", "neither a file nor a folder"),
    ],
)
def test_a_gift_that_cannot_be_is_refused_with_what_would_be_right(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadRequest, match=words):
        parse(text)


def test_two_gifts_share_no_name_and_no_target(tmp_path: Path) -> None:
    file = tmp_path / "a:b=c"
    file.write_text("x")
    assert parse(f"in={file}:ro") == Gift("in", file, writable=False)
    with pytest.raises(BadRequest, match="two files are given as 'in'"):
        parse_all([f"in={file}:ro", f"in={file}:rw"])
    with pytest.raises(BadRequest, match="given twice to be written"):
        parse_all([f"in={file}:rw", f"out={file}:rw"])


def test_a_link_is_followed_when_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    assert parse(f"out={tmp_path / 'link'}:rw").source == tmp_path / "real"


def _filled(folder: Path) -> tuple[Path, list[Gift]]:
    """An image with a program, a folder, and three files that may be written: one is there already."""
    script, tree, former = folder / "s.py", folder / "tree", folder / "former"
    script.write_text("pass")
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "leaf").write_text("leaf")
    former.write_text("former")
    former.chmod(0o640)
    gifts = [Gift("dir", tree, False), *(Gift(name, folder / name, True) for name in ("former", "new", "never"))]
    disk.fill(folder / "files.img", script, "s.py", gifts, 1 << 20)
    return folder / "files.img", gifts


def test_links_in_a_folder_are_not_given(tmp_path: Path) -> None:
    tree, secret = tmp_path / "tree", tmp_path / "secret"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "round").symlink_to(tree)
    (tree / "out").symlink_to(secret)
    (tree / "file").write_text("file")
    os.mkfifo(tree / "pipe")
    secret.write_text("secret")
    disk.fill(tmp_path / "files.img", secret, "s.py", [Gift("dir", tree, False)], 0)
    with opened(tmp_path / "files.img", None, read_only=True) as volume:
        assert {entry.name for entry in volume.list("given/files/dir")} == {"file", "sub"}
        assert list(volume.list("given/files/dir/sub")) == []


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / os.fsdecode(b"a\xff")).write_text("x")
    with pytest.raises(BadRequest, match="not UTF-8"):
        disk.fill(tmp_path / "files.img", tmp_path / "none", "s.py", [Gift("dir", tree, False)], 0)
    with pytest.raises(BadRequest, match="not UTF-8"):
        parse(os.fsdecode(b"a\xff=file:ro"))


def test_files_go_by_the_disk_and_come_back_whole(tmp_path: Path) -> None:
    image, gifts = _filled(tmp_path)
    with opened(image, None, read_only=False) as volume:
        for path, data in (("given/script/s.py", b"pass"), ("given/files/dir/sub/leaf", b"leaf")):
            assert volume.open(path, create=False, exclusive=False).read(0, 100) == data
        for name, data in (("former", b"second"), ("new", b"first"), ("of its own", b"stays here")):
            file = volume.open(f"results/{name}", create=True, exclusive=False)
            file.truncate(0)
            file.write(0, data)
            file.close()
    assert disk.bring_back(image, gifts) == ["former", "new"]
    assert (tmp_path / "former").read_text() == "second"
    assert (tmp_path / "former").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").read_text() == "first"
    assert {path.name for path in tmp_path.iterdir()} == {"files.img", "former", "new", "s.py", "tree"}


def test_what_is_no_file_any_more_leaves_all_as_it_was(tmp_path: Path) -> None:
    image, gifts = _filled(tmp_path)
    with opened(image, None, read_only=False) as volume:
        file = volume.open("results/former", create=False, exclusive=False)
        file.write(0, b"second")
        file.close()
        volume.make_directory("results/new")
    with pytest.raises(BadRequest, match="new is no file any more"):
        disk.bring_back(image, gifts)
    assert (tmp_path / "former").read_text() == "former"
    assert not (tmp_path / "new").exists()


def test_the_description_holds_whatever_names_and_arguments_there_are(tmp_path: Path) -> None:
    odd = 'a "b" \\ \x01\x7f ünï\n'
    gifts = [Gift(odd, tmp_path, False), Gift("out", tmp_path / "out", True)]
    file = tmp_path / "system.toml"
    file.write_text(describe("run-1", Program(odd, [odd, ""], gifts, 16 << 20, (1,))))
    description = load(file)
    task = description.system.task(PROGRAM)
    assert (task.memory, task.essential, task.grants) == (16 << 20, True, ())
    assert task.threads == 2
    assert task.config == {
        "script": odd,
        "arguments": [odd, ""],
        "read_only": [odd],
        "writable": ["out"],
        "terminal": [1],
    }
    assert {(use.task, use.provided) for use in task.uses} == {
        ("ethernet", "card"),
        ("littlefs", "given"),
        ("littlefs", "results"),
    }


def test_a_share_of_a_processor_is_a_budget_of_one_thread(tmp_path: Path) -> None:
    file = tmp_path / "system.toml"
    file.write_text(describe("run-1", Program("s.py", (), (), 16 << 20, (), 20)))
    task = load(file).system.task(PROGRAM)
    assert (task.threads, task.budget_us, task.period_us) == (0, 20_000, 100_000)


def test_nobody_but_a_starter_can_start_it(tmp_path: Path, runtime: Path) -> None:
    file = tmp_path / "system.toml"
    file.write_text(describe("run-1", Program("s.py", (), (), 16 << 20, ())))
    (tmp_path / "files.img").write_bytes(bytes(1 << 20))
    with pytest.raises(RuntimeRefused, match=f"device {LINE}: its frames go to the program that starts the system"):
        launch(LaunchOptions(load(file)))


def test_what_would_command_a_terminal_is_spelled_out() -> None:
    assert harmless(b"a\tb\r\n\x1b[2J\x07\xc2\x9b3m\x7f") == b"a\tb\r\n\\x1b[2J\\x07\\x9b3m\\x7f"
    assert harmless("grün €".encode()) == "grün €".encode()


def test_bytes_that_are_no_frame_are_none() -> None:
    assert take_apart(b"") is None
    assert take_apart(b"\x01" * 13) is None
    assert take_apart(b"\x05" + bytes(20)) is None
    assert take_apart(head(Stream.ERROR, 7) + b"text") == (Stream.ERROR, 7, b"text")


def test_a_program_gets_what_it_asks_for_and_its_frames_count_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    source, typed = os.pipe()
    kept = Kept(12)
    relay = Relay(ours, kept.write, source)
    running = threading.Thread(target=relay.run, args=(None,))
    running.start()
    with ours, theirs:
        for number in (1, 2, 2, 1):
            theirs.send(head(Stream.OUTPUT, number) + b"part%d " % number)
        theirs.send(b"no frame of ours")
        theirs.send(head(Stream.WANTED, 3))
        os.write(typed, b"typed")
        answer = take_apart(theirs.recv(MTU))
        assert answer is not None
        assert (answer.stream, answer.data) == (Stream.INPUT, b"typed")
        os.close(typed)
        theirs.send(head(Stream.WANTED, 4))
        assert take_apart(theirs.recv(MTU)) == (Stream.INPUT, 2, b"")
        theirs.send(head(Stream.END, 5))
        assert take_apart(theirs.recv(MTU)) == (Stream.END, 3, b"")
        theirs.close()
        running.join()
    os.close(source)
    assert kept.text(Stream.OUTPUT) == "part1 part2 "
    assert relay.ended


def test_the_time_is_up_however_much_is_written() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(head(Stream.OUTPUT, 1) + b"x")
        with pytest.raises(TimeIsUp):
            Relay(ours, Kept(1).write, -1).run(0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--memory", "60M"), "write a power of two in 4M"),
        (("--memory", "64"), "write a whole number with K, M, G or T"),
        (("--timeout", "10"), "write a whole number with us, ms or s"),
        (("--timeout", "0s"), "that is no time at all"),
        (("--room", "x"), "write a whole number with K, M, G or T"),
        (("--give", "in=nothing:ro"), "there is no nothing"),
        (("--cpu", "20"), "from 1% to 99%"),
        (("--cpu", "0%"), "from 1% to 99%"),
        (("--cpu", "100%"), "from 1% to 99%"),
    ],
)
def test_bad_input_is_refused_before_anything_is_started(
    options: tuple[str, ...], words: str, tmp_path: Path, runtime: Path
) -> None:
    script = tmp_path / "s.py"
    script.write_text("pass")
    done = CliRunner().invoke(main, ["run", "--confined", str(script), *options])
    assert done.exit_code == 1
    assert words in done.output
    assert list(runtime.iterdir()) == []


def test_what_is_run_is_a_file_and_confined(tmp_path: Path) -> None:
    runner = CliRunner()
    assert "does not exist" in runner.invoke(main, ["run", "--confined", str(tmp_path / "none.py")]).output
    assert "is no file" in runner.invoke(main, ["run", "--confined", str(tmp_path)]).output
    assert runner.invoke(main, ["run", str(tmp_path)]).exit_code == 2
