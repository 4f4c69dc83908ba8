"""A file system of one file by FUSE in Python, served by a process of its own; and `os.stat` of it.

``python -m bench.storage.fuse_files FOLDER`` mounts and serves it until it is ended. The kernel keeps nothing of what
it was told (its time-outs are 0), so that each stat asks the server, as each of ours does.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

NAME: Final = "big"
SIZE: Final = 16 << 20
READY: Final = b"mounted\n"
SECONDS: Final = 10.0


class NoFuse(Exception):
    """There can be no mount here; the text says why."""


class FuseFiles:
    """The mount, and the process that serves it. A context manager.

    Raises:
        NoFuse.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("mfusepy") is None:
            raise NoFuse("mfusepy is not installed: pip install -e '.[bench]', and libfuse3-3 of the distribution")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise NoFuse("/dev/fuse cannot be opened")
        self._folder = folder
        folder.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.storage.fuse_files", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if not select.select([self._process.stdout], [], [], SECONDS)[0] or self._process.stdout.readline() != READY:
            self._end()
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise NoFuse(f"the mount failed: {said[-1] if said else 'it said nothing'}")

    def turn(self, times: int) -> Callable[[], float]:
        """Looks at the file so often, and returns seconds a look."""
        path = str(self._folder / NAME)

        def timed() -> float:
            start = time.perf_counter()
            for _ in range(times):
                os.stat(path)
            return (time.perf_counter() - start) / times

        return timed

    def _end(self) -> None:
        self._process.terminate()  # libfuse unmounts then
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if os.path.ismount(self._folder):
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    def __enter__(self) -> FuseFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def serve(folder: str) -> None:
    """Mount, say so, and answer until the end."""
    import mfusepy

    class OneFile(mfusepy.Operations):  # type: ignore[misc]  # it has no types
        def init(self, path: str) -> None:
            os.write(1, READY)

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if path == "/" + NAME:
                return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": SIZE}
            raise mfusepy.FuseOSError(errno.ENOENT)

    mfusepy.FUSE(
        OneFile(), folder, foreground=True, nothreads=True, attr_timeout=0, entry_timeout=0, negative_timeout=0
    )


if __name__ == "__main__":
    serve(sys.argv[1])
