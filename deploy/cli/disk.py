"""``sel4py disk``: images of disks, made and filled on the host."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from deploy.cli import Listed
from deploy.cli.output import Failure, Report, reported
from deploy.cli.rendering import line, table

_image = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
_partition = click.option(
    "--partition",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Which partition; by default the disk, or its only one.",
)


@click.group(cls=Listed)
def command() -> None:
    """Make images of disks, and look into them, while no system uses them."""


@command.command()
@_image
@click.option(
    "--size", required=True, metavar="SIZE", help="Bytes of the disk, such as 64M; what is not written takes none."
)
@click.option("--partition", is_flag=True, help="Put a partition on the disk, and the file system in it.")
@reported
def create(file: Path, size: str, partition: bool) -> Report:
    """Make FILE, a disk with an empty file system (littlefs)."""
    from deploy import disk
    from deploy.quantities import parse_size

    try:
        size_bytes = parse_size(size)
    except ValueError as error:
        raise Failure(f"--size {size}: {error}") from None
    geometry = disk.create(file, size_bytes, partition)
    result = {"file": str(file), "size": size_bytes, "partition": 1 if partition else None, **asdict(geometry)}
    where = "in partition 1 of" if partition else "on"
    return Report(
        result,
        lambda: line(f"made a file system of {geometry.blocks} blocks of {geometry.block_bytes} bytes {where} {file}"),
    )


@command.command()
@_image
@click.argument("path", default="/")
@_partition
@reported
def ls(file: Path, path: str, partition: int | None) -> Report:
    """List what a directory in FILE holds: the root, or PATH."""
    from deploy import disk
    from libsel4py.interfaces.file import Kind

    with disk.opened(file, partition, read_only=True) as volume:
        entries = disk.listed(volume, disk.inside(path))
    result = [
        {"name": each.name, "kind": each.kind.name.lower(), "size": None if each.kind is Kind.DIRECTORY else each.size}
        for each in entries
    ]
    return Report(result, lambda: table(("name", "kind", "size"), [tuple(row.values()) for row in result]))


@command.command(name="import")
@_image
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target")
@_partition
@reported
def import_(file: Path, source: Path, target: str, partition: int | None) -> Report:
    """Copy SOURCE, a file or a folder of the host, to TARGET in FILE."""
    from deploy import disk

    with disk.opened(file, partition, read_only=False) as volume:
        count = disk.put(volume, source, disk.inside(target))
    return Report({"files": count}, lambda: line(f"copied {_files(count)} into {file}"))


@command.command()
@_image
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@_partition
@reported
def export(file: Path, source: str, target: Path, partition: int | None) -> Report:
    """Copy SOURCE, a file or a directory in FILE, to TARGET on the host."""
    from deploy import disk

    with disk.opened(file, partition, read_only=True) as volume:
        count = disk.get(volume, disk.inside(source), target, file)
    return Report({"files": count}, lambda: line(f"copied {_files(count)} out of {file}"))


@command.command()
@_image
@_partition
@reported
def check(file: Path, partition: int | None) -> Report:
    """Walk every directory and read every file of FILE; exit status 1 if something is broken. Nothing is written."""
    from deploy import disk

    health = disk.checked(file, partition)
    result = asdict(health)

    def show() -> None:
        for problem in health.problems:
            line(problem)
        used = f"{health.used_blocks} of {health.geometry.blocks} blocks used"
        line(f"{_files(health.files)} ({health.file_bytes} bytes) in {health.directories + 1} directories, {used}")
        if health.orphans:
            line(f"{health.orphans} blocks are used, and no file or directory has them")
        if health.unfinished:
            line(
                "a power loss left something half done; the next mount finishes it, and nothing that was synced is lost"
            )
        line(f"{len(health.problems)} problems" if health.problems else "the file system is whole")

    return Report(result, show, ok=not health.problems)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
