"""Two systems that are joined by a switch: a stream from a task of one to a task of the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from bench.booted import SYSTEMS, BootedSystem

ROOT = Path(__file__).parents[2]
SOURCE, SINK = "10.2.0.1", "10.2.0.2"


class Nodes:
    """They have an MTU, and in the folder their descriptions and sockets. A context manager."""

    def __init__(self, folder: Path, mtu: int) -> None:
        self._ends = ExitStack()
        with ExitStack() as undo:
            undo.push(self._ends)
            for image, address in (("stream_sink", SINK), ("stream_source", SOURCE)):
                name = f"{image.replace('_', '-')}-{mtu}"
                text = (SYSTEMS / "network.toml").read_text()
                for key, value in {
                    "ADDRESS": address,
                    "MTU": str(mtu),
                    "IMAGE": f"bench.tasks.{image}",
                    "LINK": f"bench-{mtu}",
                }.items():
                    text = text.replace(key, value)
                path = folder / f"{name}.toml"
                path.write_text(f'[system]\nname = "{name}"\npaths = ["{ROOT}"]\n\n{text}')
                self.source = self._ends.enter_context(BootedSystem(path, name, folder))
            self.source.order(f"connect {SINK}")
            undo.pop_all()

    def turn(self, total: int) -> Callable[[], float]:
        """Sends so many bytes, and returns the seconds until the other side has had the last."""
        return lambda: float(self.source.order(f"give {total}")["seconds"])

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()  # the source first: the sink ends when its connection does
