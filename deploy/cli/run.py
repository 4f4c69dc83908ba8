"""``sel4py run``: run one program with just the authorities that the command line gives it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from deploy.cli.output import Failure, Report, reported, wants_json

MOST_KEPT = 4 << 20  # bytes of each stream, in a report


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1)
@click.option("--confined", is_flag=True, help="In a system of its own, with nothing but what is given. Needed.")
@click.option("--give", "gifts", metavar="NAME=FILE:ro|rw", multiple=True, help="A file, or a folder (ro), as NAME.")
@click.option("--memory", metavar="SIZE", default="64M", show_default=True, help="Its memory, a power of two.")
@click.option(
    "--room", metavar="SIZE", default="256M", show_default=True, help="What it can write to files, and up to 8M more."
)
@click.option("--cpu", metavar="SHARE", help="Its share of a processor, such as 20%.")
@click.option("--timeout", metavar="TIME", help="End it after so long, such as 10s; exit status 124.")
@click.option("--escapes", is_flag=True, help="Let what it writes command the terminal (colours, and all else).")
@reported
def command(
    script: Path,
    arguments: tuple[str, ...],
    confined: bool,
    gifts: tuple[str, ...],
    memory: str,
    room: str,
    cpu: str | None,
    timeout: str | None,
    escapes: bool,
) -> Report:
    """Run the Python program SCRIPT where it can reach nothing but what --give says; ARGUMENTS follow a --.

    Standard streams are this terminal's, and the exit status is the program's. Files that were given with rw are
    replaced when it has ended by itself, and are untouched otherwise.
    """
    from deploy.confined.gifts import BadRequest, parse_all
    from deploy.confined.relay import Kept, to_streams
    from deploy.confined.run import run
    from deploy.confined.system import Program
    from libsel4py.streams import Stream

    if not confined:
        raise click.UsageError("there is no other way to run a program than --confined: say so")
    as_json = wants_json()
    try:
        _ensure_script(script)
        _ensure_texts((script.name, *arguments))
        terminal = [] if as_json else [each for each in (0, 1, 2) if os.isatty(each)]
        program = Program(script.name, arguments, parse_all(gifts), _memory(memory), terminal, _share(cpu))
        size, seconds = _size("--room", room), _seconds(timeout)
        kept = Kept(MOST_KEPT)
        outcome = run(script, program, size, seconds, kept.write if as_json else to_streams(escapes), 0)
    except BadRequest as error:
        raise Failure(str(error)) from error
    result = {
        "status": outcome.status,
        "by_itself": outcome.by_itself,
        "seconds": outcome.seconds,
        "written": outcome.written,
        "reason": outcome.reason,
        "stdout": kept.text(Stream.OUTPUT),
        "stderr": kept.text(Stream.ERROR),
        "bytes_left_out": kept.lost,
    }
    return Report(result, lambda: _tell(outcome.reason), ok=outcome.status == 0, status=outcome.status)


def _tell(reason: str) -> None:
    from deploy.cli.rendering import printable

    if reason:
        click.echo(f"sel4py: {printable(reason)}; no file was written", err=True)


def _ensure_script(script: Path) -> None:
    if not script.is_file():
        what = "is no file" if script.exists() else "does not exist"
        raise Failure(f"{script} {what}: give the Python program that is to run")


def _ensure_texts(texts: tuple[str, ...]) -> None:
    from deploy.confined.gifts import is_text

    for text in texts:
        if not is_text(text):
            raise Failure(f"{text!r} is not UTF-8, and cannot be handed over")


def _size(option: str, text: str) -> int:
    from deploy.quantities import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise Failure(f"{option} {text}: {error}") from error


def _memory(text: str) -> int:
    from deploy.quantities import format_size
    from deploy.sections import MEMORY_LOW, RAM_HIGH

    size = _size("--memory", text)
    most = RAM_HIGH // 4
    if size & (size - 1) or not MEMORY_LOW <= size <= most:
        raise Failure(
            f"--memory {text}: write a power of two in {format_size(MEMORY_LOW)}..{format_size(most)}, such as 64M"
        )
    return size


def _seconds(text: str | None) -> float | None:
    from deploy.quantities import parse_duration

    if text is None:
        return None
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise Failure(f"--timeout {text}: {error}") from error
    if not duration:
        raise Failure(f"--timeout {text}: that is no time at all")
    return duration / 1e6


def _share(text: str | None) -> int | None:
    """Percent of a processor."""
    if text is None:
        return None
    number = text.removesuffix("%")
    if number == text or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 99:
        raise Failure(f"--cpu {text}: write a share of one processor from 1% to 99%, such as 20%")
    return int(number)
