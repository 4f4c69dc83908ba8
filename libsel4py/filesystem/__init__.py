"""For who writes a file system: a `Volume` keeps names and bytes, `FileSystemServer` serves it to clients."""

from libsel4py.filesystem.service import FileSystemServer
from libsel4py.filesystem.volume import OpenFile, Volume

__all__ = ["FileSystemServer", "OpenFile", "Volume"]
