"""``sel4py screenshot``: save what a framebuffer shows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import click

from deploy.cli.output import Failure, Report, reported, system_option
from deploy.cli.rendering import line


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--device", metavar="NAME", help="Which of the machine's framebuffers; by default the only one.")
@system_option
@reported
def command(file: Path, device: str | None, system_name: str | None) -> Report:
    """Save the picture that a running system's framebuffer shows to FILE, as PNG."""
    from deploy import png
    from deploy.management import Management
    from deploy.runtime import select_running

    png.ensure_replaceable(file)
    with TemporaryDirectory(prefix="sel4py-") as folder, Management(select_running(system_name).folder) as management:
        pixels = Path(folder) / "pixels"
        answer = management.request("picture", file=str(pixels), device=device)
        found = cast(dict[str, Any], answer)
        data = png.of_pixels(pixels.read_bytes(), found["width"], found["height"])
    try:
        png.save(file, data)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    result = found | {"file": str(file.absolute()), "bytes": len(data)}
    return Report(result, lambda: line(f"saved {file} ({found['width']} x {found['height']}, of {found['device']})"))
