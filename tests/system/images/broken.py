"""A boot image that does not load."""

raise ImportError("this image does not load, on purpose")
