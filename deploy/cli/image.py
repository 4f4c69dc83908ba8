"""``sel4py image``: save RAM for a look later."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@system_option
@reported
def command(file: Path, system_name: str | None) -> Report:
    """Save an image of a running system's RAM to FILE, for `inspect --image` and `fsck --image`."""
    from deploy.images import ensure_replaceable
    from deploy.management import Management
    from deploy.runtime import select_running

    ensure_replaceable(file)
    with Management(select_running(system_name).folder, seconds=120) as management:
        result = management.request("image", file=str(file.absolute()))
    return Report(result, lambda: line(f"saved {file} ({file.stat().st_size} bytes, sparse)"))
