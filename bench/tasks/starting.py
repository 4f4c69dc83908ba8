"""The load of a system begins when whoever measures says so: by a file that it has somebody write."""

from __future__ import annotations

from typing import Final

from libsel4py.files import Files

NAME: Final = "begin"


def wait_for_word(files: Files, folder: str = "") -> None:
    """Returns once the file of that name is in the folder."""
    with files.watch(folder) as watcher:
        while not files.exists(f"{folder}/{NAME}"):
            watcher.wait()
