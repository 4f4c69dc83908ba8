# mypy: disable-error-code="empty-body"
"""An owner of files that hands a read-only subtree to whoever asks, and tells whether all is as it was."""

from __future__ import annotations

from libsel4py import Endpoint, Interface, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.file import Access, Directory

SECRET = b"what only the owner may read"


class Handing(Interface):
    def give(self) -> Endpoint:
        """The subtree, for reading."""

    def differences(self) -> list[str]:
        """What is not as it was."""


@component
class Main(Handing):
    disk = uses(Directory)

    def start(self) -> None:
        self._files = files = Files(self.disk)
        files.mkdir("pub")
        files.path("pub/page").write_text("hello")
        files.path("secret").write_bytes(SECRET)
        self._watcher = files.watch()

    def give(self) -> Endpoint:
        return self.disk.narrow("pub", Access.READ)

    def differences(self) -> list[str]:
        found = [f"{change.path} was {change.kind.name.lower()}" for change in self._watcher.changes()]
        if self._files.path("secret").read_bytes() != SECRET or self._files.path("pub/page").read_text() != "hello":
            found.append("contents")
        return found + [entry.name for entry in self._files.list("pub") if entry.name != "page"]
