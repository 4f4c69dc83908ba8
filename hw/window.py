"""Frames with memory of their own, seen through RAM's window.

A frame that is handed to a process becomes a memfd of its own, laid over RAM's window at the frame's physical address
(`map_fixed`), so that the kernel and devices go on seeing one contiguous RAM. `discard` gives pages that are covered,
or that nobody needs any more, back to the host. `host_address` is for those who wait for a word of a frame (futex(2)).

Of a frame in which nothing was ever stored there is nothing to move: `lay_fresh` looks at that, notes whose the memory
is from there on, and lays it over. `make_memories` makes such memory, sealed against growing, some at a time.
"""

from hw._ram import discard, host_address, lay_fresh, make_memories, map_fixed

__all__ = ["discard", "host_address", "lay_fresh", "make_memories", "map_fixed"]
