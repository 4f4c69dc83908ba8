"""The command ``sel4py``. A file a command; nothing but click is loaded before a command runs."""

from __future__ import annotations

import importlib

import click

COMMANDS = (
    "up",
    "run",
    "down",
    "systems",
    "console",
    "ps",
    "why",
    "schedule",
    "kill",
    "chaos",
    "logs",
    "inspect",
    "image",
    "fsck",
    "upgrade",
    "suspend",
    "resume",
    "disk",
    "check",
    "new",
    "doctor",
)


class _Commands(click.Group):
    """Loads a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"deploy.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sel4py")
def main() -> None:
    """Run and look into sel4py systems."""
