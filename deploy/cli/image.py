"""``sel4py image``: save RAM for a look later."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line

SECONDS = 120.0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@system_option
@reported
def command(file: Path, system_name: str | None) -> Report:
    """Save an image of a running system's RAM to FILE, for `inspect --image` and `fsck --image`."""
    from deploy.images import ensure_replaceable
    from deploy.management import Management
    from deploy.runtime import select_running

    target = ensure_replaceable(file)
    with Management(select_running(system_name).folder) as management:
        result = management.request_long("image", SECONDS, file=str(target))
    return Report(result, lambda: line(f"saved {file} ({file.stat().st_size} bytes, sparse)"))
