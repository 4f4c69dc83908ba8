"""A boot image that does not load, and says much of it, in bytes that are no UTF-8."""

raise ImportError("this image does not load, on purpose \udcff" + 10_000 * "!")
