"""The monitor's half of the fd store: descriptors that a kernel that is started again will need.

The kernel's half is kerneld/host/fd_store.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class FdStore:
    """What the kernel has asked to be kept, by key."""

    kept: dict[str, int] = field(default_factory=dict)

    def take(self, message: dict[str, object], descriptors: Sequence[int]) -> None:
        """One message of the kernel's (kerneld/host/fd_store.py). What it does not keep is closed."""
        match message:
            case {"op": "keep", "key": str(key)} if len(descriptors) == 1:
                self._forget(key)
                self.kept[key] = descriptors[0]
            case {"op": "drop", "keys": list(keys)}:
                for key in keys:
                    self._forget(key)
                close_all(descriptors)
            case _:
                close_all(descriptors)

    def close(self) -> None:
        close_all(tuple(self.kept.values()))
        self.kept.clear()

    def _forget(self, key: str) -> None:
        descriptor = self.kept.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
