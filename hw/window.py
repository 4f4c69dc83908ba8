"""Frames with memory of their own, seen through RAM's window.

A frame that is handed to a process becomes a memfd of its own, laid over RAM's window at the frame's physical address
(`map_fixed`), so that the kernel and devices go on seeing one contiguous RAM. `discard` gives pages that are covered,
or that nobody needs any more, back to the host.
"""

from hw._ram import discard, map_fixed

__all__ = ["discard", "map_fixed"]
