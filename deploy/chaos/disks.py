"""Disks of a run: empty ones, so that nothing that an earlier run left can be taken for an answer of this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.description import Description
from deploy.host_devices import DiskFile, HostPart


def with_empty_disks(description: Description, folder: Path) -> tuple[Description, list[Path]]:
    """The same system with new images in ``folder``, and which these are; those of the last run are removed.

    A disk that must exist (one without a size) is used as it is: an empty one would be of no use to its system.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    parts: dict[str, HostPart] = dict(description.host_parts)
    made: list[Path] = []
    for name, part in parts.items():
        if isinstance(part, DiskFile) and part.size is not None:
            image = folder.absolute() / f"{name}.img"
            image.unlink(missing_ok=True)
            parts[name] = replace(part, path=str(image))
            made.append(image)
    return replace(description, host_parts=parts), made
