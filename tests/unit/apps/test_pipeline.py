"""A line of the shell: words, pipes and redirections, and what is refused."""

from __future__ import annotations

import pytest

from apps.shell.call import BadArguments
from apps.shell.pipeline import Pipeline, parse


@pytest.mark.parametrize(
    ("line", "pipeline"),
    [
        ("", Pipeline(())),
        ("  \t ", Pipeline(())),
        ("ls", Pipeline((["ls"],))),
        ("cat a|grep 'x y' | head 3", Pipeline((["cat", "a"], ["grep", "x y"], ["head", "3"]))),
        ("cat a>b", Pipeline((["cat", "a"],), target="b")),
        ("cat a >> 'b c'", Pipeline((["cat", "a"],), target="b c", append=True)),
        ("hexdump <a | head > b", Pipeline((["hexdump"], ["head"]), "a", "b")),
        ("< a hexdump", Pipeline((["hexdump"],), "a")),
        (r"echo '|' \> \| '>>' a\ b", Pipeline((["echo", "|", ">", "|", ">>", "a b"],))),
        ("call pong ping ' 7'", Pipeline((["call", "pong", "ping", " 7"],))),
        ("""write f "it's" ''""", Pipeline((["write", "f", "it's", ""],))),
        ("""write f a'b c'd""", Pipeline((["write", "f", "ab cd"],))),
    ],
)
def test_a_line_is_read(line: str, pipeline: Pipeline) -> None:
    assert parse(line) == pipeline


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("| head", "a command stands before and after it"),
        ("cat |", "a command stands before and after it"),
        ("cat | | head", "a command stands before and after it"),
        ("cat > a | head", "> ends the last one"),
        ("cat >", "a file's name follows it"),
        ("cat > > a", "a file's name follows it"),
        ("cat < | head", "a file's name follows it"),
        ("cat a | head < b", "the first command alone reads a file"),
        ("cat < a < b", "the first command alone reads a file"),
        ("cat > a > b", "goes to a already"),
        ("> a", "there is no command"),
        ("cat 'a", "quotes come in pairs"),
        ('cat "a', "quotes come in pairs"),
        ("cat a\\", "No escaped character"),
    ],
)
def test_a_line_that_means_nothing_is_refused(line: str, reason: str) -> None:
    with pytest.raises(BadArguments, match=reason):
        parse(line)
