"""``sel4py fsck``: do the kernel's invariants hold?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line


@click.command()
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Check a saved image of RAM instead of a running system.",
)
@system_option
@reported
def command(image: Path | None, system_name: str | None) -> Report:
    """Check every invariant of the kernel's records; exit status 1 if one is broken."""
    if image is not None:
        from deploy.images import fsck

        broken = list(fsck(image))
    else:
        from deploy.management import Management
        from deploy.runtime import select_running

        with Management(select_running(system_name).folder) as management:
            broken = _broken(management.request("fsck"))

    def show() -> None:
        for each in broken:
            line(_sentence(each))
        line(f"{len(broken)} invariants are broken" if broken else "all invariants hold")

    return Report({"broken": broken}, show, ok=not broken)


def _sentence(broken: object) -> str:
    """What is broken, as people read it: the predicate, what it says, and what contradicts it."""
    match broken:
        case {"name": name, "sentence": sentence, "detail": detail}:
            return f"{name}: {detail} (it should hold: {sentence})"
        case _:
            return str(broken)


def _broken(result: object) -> list[object]:
    """The broken invariants in a kernel's answer: a list of them, alone or under ``broken``."""
    from deploy.management import ManagementError

    if isinstance(result, Mapping):
        result = result.get("broken")
    if not isinstance(result, list):
        raise ManagementError(f"the kernel's answer is no list of broken invariants: {result!r}")
    return result
