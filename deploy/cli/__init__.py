"""The command ``sel4py``. A file a command; hardly more than click is loaded before a command runs."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any, Final, TextIO

import click

from deploy.whole_output import whole

JSON: Final = "--json"
_ASKED: Final = f"{__name__}.asked"

COMMANDS = (
    "up",
    "run",
    "down",
    "systems",
    "console",
    "ps",
    "top",
    "why",
    "schedule",
    "kill",
    "chaos",
    "logs",
    "inspect",
    "image",
    "screenshot",
    "fsck",
    "upgrade",
    "suspend",
    "resume",
    "disk",
    "check",
    "new",
    "doctor",
)


class Listed(click.Group):
    """A group whose help has each command's first sentence whole, and that says what was meant by a wrong name."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, first_sentence(command.help or "")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"{ctx.command_path} --help lists them"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence, or the first paragraph; on one line."""
    line = " ".join(text.split("\n\n")[0].split())
    return line.partition(". ")[0].rstrip(".") + "." if line else ""


class _Commands(Listed):
    """Loads a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"deploy.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        ensure_standard_streams()
        ensure_children_are_waited_for()
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of what click prints: help, and wrong usage
            from deploy.cli.output import tell_not_written

            tell_not_written(error)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Before it is known what is wrong with them.
        ctx.meta[_ASKED] = JSON in args[: args.index("--") if "--" in args else None]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not ctx.meta[_ASKED]:
                raise
            click.echo(json.dumps({"ok": False, "error": error.format_message()}))
            raise SystemExit(error.exit_code) from None


def ensure_children_are_waited_for() -> None:
    """Whoever started this may ignore SIGCHLD, which is inherited: then no end of a child can be waited for."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def ensure_standard_streams() -> None:
    """Where standard streams are closed, no file that is opened later takes their numbers.

    Nothing comes from such an input. What is written to such an output fails, and an exit status says so; what is said
    to such a standard error nobody wants.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    output: TextIO = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stdout = whole(1, output) if output is sys.__stdout__ else output  # a test's own
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sel4py")
def main() -> None:
    """Run and look into sel4py systems."""
