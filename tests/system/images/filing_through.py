"""A client that writes a number to a file and to the data store till its last life; what was acknowledged is there."""

from __future__ import annotations

from libsel4py import Component, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.data_store import DataStore, Publish
from libsel4py.interfaces.file import Directory

ROUNDS = 5


class Wrong(AssertionError):
    """What was written and acknowledged is not there."""


@component
class Main(Component):
    disk = uses(Directory)
    store = uses(DataStore)

    def run(self) -> int:
        lives = int(str(self.task.environment.configuration["lives"]))
        kept = self.kept(dict[str, int])
        life = kept.value.get("lives", 0) + 1
        kept.value["lives"] = life
        kept.commit()
        known, told = kept.value.get("number", 0), False
        if known:
            self.compare(known)
        while life < lives or not told:
            for _ in range(ROUNDS):
                with Files(self.disk) as files, files.open_raw("number", "wb") as file:
                    file.write(b"%d" % (known + 1) * 1000)
                    file.sync()
                self.store.publish("number", known + 1, Publish.OVERWRITE)
                known = kept.value["number"] = known + 1
                kept.commit()
            self.compare(known)
            if not told:
                self.log.info("life %d counts", life)
                told = True
        return 0

    def compare(self, known: int) -> None:
        """A life may have ended between a write and its note of it; a file's old text is gone before its new one."""
        with Files(self.disk) as files:
            text = files.path("number").read_bytes()
        if text not in (b"", *(b"%d" % number * 1000 for number in (known, known + 1))):
            raise Wrong(f"{text[:20]!r} in the file after {known}")
        if (number := self.store.retrieve("number")) not in (known, known + 1):
            raise Wrong(f"{number!r} in the store after {known}")
