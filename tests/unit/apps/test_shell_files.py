"""The shell's commands on files, pipes and redirection, over a file system in memory and a namespace."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from apps.shell.main import Main, prompt
from apps.shell.patterns import Pattern, word
from apps.shell.session import Place, Session
from libsel4py import Interface
from libsel4py.context import Uses
from libsel4py.interfaces.console import EndOfInput
from libsel4py.testing import connect, system
from servers.ramfs.main import Main as RamFs
from servers.vfs.main import Main as Namespace
from tests.unit.apps.shell_fakes import Directory, Instruments, Script, lines

SESSION = Session.begin(Script(), Directory(), Instruments(), "shell", Uses({}))


class FileShell:
    """A shell with files. `run` types lines and returns what each came to."""

    def __init__(self, made: object, files: Interface | None) -> None:
        self._task = made.first_task  # type: ignore[attr-defined]
        self._files = files

    def run(self, *typed: str | Exception) -> list[str]:
        script = Script(*typed)
        main = Main()
        main._task = self._task
        connections: dict[str, Interface] = {"console": script, "names": Directory(), "system": Instruments()}
        if self._files is not None:
            connections["files"] = self._files
        main._uses = Uses(connections)
        assert main.run() == 0
        return [*script.answers[1:], script.shown]

    def answer(self, *typed: str | Exception) -> str:
        """What the last command came to."""
        return self.run(*typed)[-2]


@pytest.fixture
def shell() -> Iterator[FileShell]:
    with system() as made, ExitStack() as stack:
        disk, ram = (stack.enter_context(connect(RamFs)) for _ in range(2))
        mounts = {"mounts": {"/": "disk", "/tmp": "ram"}}
        space = stack.enter_context(connect(Namespace, uses={"disk": disk, "ram": ram}, configuration=mounts))
        yield FileShell(made, space)


def test_files_are_written_and_read(shell: FileShell) -> None:
    assert shell.run("write a one  two", "cat a", "write 'b c' 'x  y'", "cat a 'b c'")[:4] == [
        "",
        "one two\n",
        "",
        "one two\nx  y\n",
    ]


def test_ls_shows_directories_and_files(shell: FileShell) -> None:
    answers = shell.run("mkdir docs", "write docs/f text", "ls", "ls docs", "ls docs/f", "mkdir e", "ls e")
    assert [row[0] for row in lines(answers[2])] == ["name", "docs/"]
    assert lines(answers[3])[1][:2] == ["f", "5"]
    assert lines(answers[4])[1][0] == "f"
    assert answers[6] == ""


def test_output_goes_to_files_and_input_comes_from_them(shell: FileShell) -> None:
    answers = shell.run("help ps > h", "cat < h", "help irq >> h", "wc < h", "cat h | wc")
    assert answers[1].startswith("ps\n  the tasks of this system\n  Time is the processor time")
    assert answers[0] == answers[2] == ""
    assert answers[3] == answers[4] == "5 lines, 27 words, 156 bytes\n"


def test_commands_are_joined_by_pipes(shell: FileShell) -> None:
    made = ("write a apple", "write b banana", "cat a b > all", "cat all | grep an | hexdump")
    assert shell.answer(*made) == "00000000  62 61 6e 61 6e 61 0a                             |banana.|\n00000007\n"
    assert shell.answer("ps | head 1 | grep task | wc") == "1 lines, 11 words, 103 bytes\n"


def test_nothing_runs_if_a_part_of_the_line_is_wrong(shell: FileShell) -> None:
    assert "no command 'nonsense'" in shell.answer("write a text | nonsense")
    assert "a file's name follows it" in shell.answer("write b text >")
    assert shell.answer("ls") == ""


def test_files_are_copied_moved_and_removed(shell: FileShell) -> None:
    answers = shell.run(
        "write a text",
        "cp a b",
        "mkdir d",
        "cp a d",
        "mv b d/c",
        "ls",
        "ls d",
        "rm a d/a d/c d",
        "ls",
        "cp x y",
        "cp d d",
    )
    assert [row[0] for row in lines(answers[5])] == ["name", "a", "d/"]
    assert [row[0] for row in lines(answers[6])] == ["name", "a", "c"]
    assert answers[8] == ""
    assert "No such file" in answers[9]


class TestTheCurrentDirectory:
    def test_paths_begin_there(self, shell: FileShell) -> None:
        answers = shell.run(
            "mkdir d",
            "mkdir d/e",
            "cd d/e",
            "pwd",
            "write f text",
            "cat f > ../g",
            "cat /d/g",
            "cd ..",
            "ls",
            "ls ..",
            "cd",
            "pwd",
        )
        assert answers[3] == "/d/e\n"
        assert answers[6] == "text\n"
        assert [row[0] for row in lines(answers[8])] == ["name", "e/", "g"]
        assert [row[0] for row in lines(answers[9])] == ["name", "d/"]
        assert answers[11] == "/\n"

    def test_there_is_nothing_above_the_root(self, shell: FileShell) -> None:
        assert shell.answer("cd ../..", "write ../a text", "cat /a") == "text\n"

    def test_what_is_no_directory_is_not_gone_to(self, shell: FileShell) -> None:
        answers = shell.run("write a text", "cd a", "cd none", "pwd")
        assert answers[1] == "a is no directory\n"
        assert "No such file" in answers[2]
        assert answers[3] == "/\n"

    def test_it_may_be_another_file_system(self, shell: FileShell) -> None:
        assert shell.answer("cd /tmp", "write a text", "cd /", "cat tmp/a") == "text\n"

    def test_input_and_output_are_files_there(self, shell: FileShell) -> None:
        answers = shell.run("mkdir d", "cd d", "echo text > f", "cat f >> /d/f", "wc < f", "cat /d/f")
        assert "is the output itself" in answers[3]
        assert answers[5] == "text\n"

    def test_the_prompt_says_it(self) -> None:
        place = Place()
        session = replace(SESSION, place=place)
        assert prompt(session) == "sel4py> "
        place.folder = "/d/e"
        assert prompt(session) == "sel4py /d/e> "


class TestPatterns:
    MADE = (
        "mkdir d",
        "write a.txt a",
        "write b.txt b",
        "write c.md c",
        "write d/d.txt d",
        "write d/e.md e",
        "write *q q",
    )

    def test_they_stand_for_files(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "cat *.txt", "cat ?.md", "cat d/* */d.*", "cat /*/e.md", "cat d*/", "wc d/e*d")
        assert answers[7:11] == ["a\nb\n", "c\n", "d\ne\nd\n", "e\n"]
        assert "Is a directory" in answers[11]
        assert answers[12] == "1 lines, 1 words, 2 bytes\n"

    def test_quoted_signs_are_themselves(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "cat '*q'", r"cat \*q", 'cat "*"q', "cat '*'?", "cat '?.md'")
        assert answers[7:11] == ["q\n"] * 4
        assert "No such file" in answers[11]

    def test_what_nothing_matches_stays(self, shell: FileShell) -> None:
        answers = shell.run(
            *self.MADE, "cat *.c", "cat none/*", "cat a.txt/*", "echo *.txt", "write new *.txt", "cat new"
        )
        assert "*.c" in answers[7]
        assert "No such file" in answers[7]
        assert "No such file" in answers[8]
        assert "No such file" in answers[9]
        assert answers[10] == "*.txt\n"
        assert answers[12] == "*.txt\n"

    def test_a_text_is_no_pattern(self, shell: FileShell) -> None:
        assert shell.answer(*self.MADE, "write f a.txt *.txt", "grep *.t f") == "a.txt *.txt\n"

    def test_they_stand_for_files_behind_another_commands_name(self, shell: FileShell) -> None:
        assert shell.answer(*self.MADE, "time cat *.txt").startswith("a\nb\ncat *.txt: ")

    def test_several_files_are_too_many_where_one_is_meant(self, shell: FileShell) -> None:
        assert "'b.txt' is a word too many" in shell.answer(*self.MADE, "stat *.txt")

    def test_no_name_is_taken_for_an_option(self, shell: FileShell) -> None:
        answers = shell.run("mkdir d", "write d/f text", "write ./-r text", "rm *", "ls")
        assert "Directory not empty" in answers[3]
        assert [row[0] for row in lines(answers[4])] == ["name", "d/"]

    @pytest.mark.parametrize(
        "typed", ["a*", r"a\**'*?'", "'a b'?", '"[!x]"*"\\""', "[a]?]", r"\[*'' ", "*", "é*'ü?'", "a/*/'?'/b"]
    )
    def test_a_word_means_what_it_would_be_without_patterns(self, typed: str) -> None:
        found = word(typed.strip())
        assert isinstance(found, Pattern)
        assert found == shlex.split(typed)[0]
        assert len(found.globs) == len(found.split("/"))
        assert all(fnmatch.fnmatchcase(text, glob) for text, glob in zip(found.split("/"), found.globs, strict=True))


class TestWholeDirectories:
    MADE = ("mkdir a", "mkdir a/b", "mkdir a/c", "write a/f one", "write a/b/g two")

    def test_they_are_copied(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "cp a n", "cat n/f n/b/g", "ls n", "mkdir d", "cp a n/f d", "cat d/a/b/g d/f")
        assert answers[6] == "one\ntwo\n"
        assert [row[0] for row in lines(answers[7])] == ["name", "b/", "c/", "f"]
        assert answers[10] == "two\none\n"

    def test_what_is_there_already_stays(self, shell: FileShell) -> None:
        made = ("mkdir d", "mkdir d/a", "write d/a/mine kept", "write d/a/f old")
        assert shell.answer(*self.MADE, *made, "cp a d", "cat d/a/mine d/a/f d/a/b/g") == "kept\none\ntwo\n"

    @pytest.mark.parametrize("line", ["cp a a/n", "cp a a/b/n", "cp /a a/b", "cp a a", "cp / a/n"])
    def test_none_is_copied_into_itself(self, shell: FileShell, line: str) -> None:
        answers = shell.run(*self.MADE, line, "ls a", "ls a/b")
        assert "a copy of it would have no end" in answers[5] or "goes into no directory" in answers[5]
        assert [row[0] for row in lines(answers[6])] == ["name", "b/", "c/", "f"]
        assert [row[0] for row in lines(answers[7])] == ["name", "g"]

    def test_they_are_moved_to_another_file_system(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "mv a /tmp/n", "cat /tmp/n/f /tmp/n/b/g", "ls")
        assert answers[6] == "one\ntwo\n"
        assert answers[7] == ""

    def test_they_are_removed_where_that_is_said(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "rm a", "cat a/b/g", "rm -r a/f a", "ls", "rm -r", "rm -r none")
        assert "Directory not empty" in answers[5]
        assert answers[6] == "two\n"
        assert answers[8] == ""
        assert "name a" in answers[9]
        assert "No such file" in answers[10]

    def test_the_root_stays(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "rm -r a/c /", "cd a", "rm -r ..", "ls")
        assert answers[5] == answers[7] == "the root stays\n"
        assert [row[0] for row in lines(answers[8])] == ["name", "b/", "c/", "f"]

    def test_of_several_none_is_copied_to_what_is_no_directory(self, shell: FileShell) -> None:
        answers = shell.run(*self.MADE, "cp a/f a/b/g n", "mv a/f a/b/g a/f", "ls")
        assert "n is no directory" in answers[5]
        assert "a/f is no directory" in answers[6]
        assert [row[0] for row in lines(answers[7])] == ["name", "a/"]

    def test_several_are_listed_one_after_the_other(self, shell: FileShell) -> None:
        answer = shell.answer(*self.MADE, "ls a/b a/f a/c").splitlines()
        assert [row.split()[0] for row in answer] == ["name", "a/f", "a/b:", "name", "g", "a/c:"]


@pytest.mark.parametrize(
    "line", ["cat a >> a", "cat a >> /a", "grep x a >> a", "hexdump a >> /a", "cat < a >> /a", "cat < a > a"]
)
def test_a_file_is_not_read_while_it_is_the_output(shell: FileShell, line: str) -> None:
    answers = shell.run("write a x", "wc a", line, "wc a")
    assert "is the output itself" in answers[2]
    assert answers[3] == answers[1] == "1 lines, 1 words, 2 bytes\n"


def test_what_is_read_to_its_end_first_may_be_the_output(shell: FileShell) -> None:
    assert shell.answer("write a x", "cat a | cat >> a", "wc a >> a", "cat a") == "x\nx\n2 lines, 2 words, 4 bytes\n"


def test_a_move_to_another_file_system_is_a_copy_and_a_removal(shell: FileShell) -> None:
    answers = shell.run("write a text", "mv a /tmp/b", "cat /tmp/b", "ls")
    assert answers[2] == "text\n"
    assert answers[3] == ""


def test_a_copy_onto_itself_changes_nothing(shell: FileShell) -> None:
    answers = shell.run("write a text", "cp a /a", "cat a")
    assert "is the file itself" in answers[1]
    assert answers[2] == "text\n"


def test_df_and_stat_say_how_much_there_is(shell: FileShell) -> None:
    answers = shell.run("df", "write a text", "stat a", "mkdir d", "stat d")
    assert [row[-1] for row in lines(answers[0])] == ["at", "/", "/tmp"]
    assert answers[2].startswith("a: file, 5 bytes, modified ")
    assert answers[4].startswith("d: directory")


def test_a_command_without_input_reads_what_is_typed(shell: FileShell) -> None:
    assert shell.answer("wc > n", "line one", "two", EndOfInput("Ctrl-D")) == ""
    assert shell.answer("cat n") == "2 lines, 3 words, 13 bytes\n"


class TestEditor:
    """A line editor: the file changes when it is written, as a whole."""

    @pytest.mark.parametrize(
        ("commands", "contents"),
        [
            (["a", "one", "two", ".", "w", "q"], "one\ntwo\n"),
            (["0a", "first", ".", "2d", "w", "q"], "first\nold two\n"),
            (["2c", "new", "newer", ".", "w", "q"], "old one\nnew\nnewer\n"),
            (["s/old/young/", "w", "q"], "young one\nyoung two\n"),
            (["2s,two,2,", "w", "q"], "old one\nold 2\n"),
            (["1,$d", "w", "q"], ""),
            (["a", "lost", ".", "q", "q"], "old one\nold two\n"),
        ],
    )
    def test_it_changes_lines(self, shell: FileShell, commands: list[str], contents: str) -> None:
        start = ["write f old one", "write g old two", "cat f g > old"]
        path = "new" if contents == "one\ntwo\n" else "old"
        assert shell.run(*start, f"edit {path}", *commands, f"cat {path}")[4] == contents

    @pytest.mark.parametrize("sign", ["\f", "\v", "\x1c", "\x85", "\u2028"])
    def test_lines_that_nobody_changed_stay(self, shell: FileShell, sign: str) -> None:
        line = f"one{sign}two"
        assert shell.answer(f"write f '{line}'", "edit f", "0a", "new", ".", "w", "q").count("2 lines written") == 1
        assert shell.answer("cat f") == f"new\n{line}\n"

    def test_it_shows_lines_and_says_what_is_wrong(self, shell: FileShell) -> None:
        answer = shell.answer("write f only", "edit f", "p", "9p", "x", "h", "q")
        assert "   1  only\n" in answer
        assert "there is no line 9" in answer
        assert "'x' is no command" in answer


def test_a_shell_without_files_says_so() -> None:
    with system() as made:
        assert "was given no files" in FileShell(made, None).answer("ls")
