"""Carries out a line: opens what it reads and writes, and runs its commands one after the other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import IO

import apps.shell.commands  # noqa: F401 (registers the commands)
from apps.shell.command import find, run_words
from apps.shell.pipeline import parse
from apps.shell.session import CommandError, Session
from apps.shell.streams import Output, ToFile, ToPipe


def run(session: Session, line: str) -> None:
    """Carry out one line. Raises BadArguments, CommandError, Exit, PipeFull, and what servers raise.

    All its commands exist, and have the words that they need, before the first one runs.
    """
    pipeline = parse(line)
    for words in pipeline.commands:
        find(words[0]).check(words[1:])
    with ExitStack() as stack:
        source: IO[bytes] | None = None
        if pipeline.source and pipeline.target and session.is_same(pipeline.source, pipeline.target):
            raise CommandError(f"{pipeline.source} is the output itself")
        if pipeline.source:
            source = stack.enter_context(session.path(pipeline.source).open("rb"))
        last: Output = session.output
        if pipeline.target:
            last = ToFile(session.path(pipeline.target).open("ab" if pipeline.append else "wb"))
            stack.callback(last.finish)
        for words in pipeline.commands[:-1]:
            pipe = ToPipe()
            run_words(replace(session, input=source, output=pipe), words)
            source = pipe.reader()
        for words in pipeline.commands[-1:]:
            run_words(replace(session, input=source, output=last, target=pipeline.target), words)
            last.finish()
