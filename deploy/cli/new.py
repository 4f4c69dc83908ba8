"""``sel4py new``: begin a component."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.output import Report, reported
from deploy.cli.rendering import line


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@reported
def command(folder: Path) -> Report:
    """Write a component NAME (or PATH/NAME): an interface, a server with its test, and a system that runs it."""
    from deploy.scaffold import scaffold

    files = scaffold(folder)

    def show() -> None:
        for path in files:
            line(str(path))
        line(f"run it: sel4py up {folder}/system.toml    test it: python -m pytest {folder}")

    return Report({"name": folder.name, "files": [str(path) for path in files]}, show)
