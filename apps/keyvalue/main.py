"""A key-value store on files: what it has answered survives the loss of power, and any death of its own.

Must be given: a connection ``files`` (a file system, or a namespace). Settings: ``path`` of its journal ("store").

The journal stays open when its file system is started again (`libsel4py.files`).
"""

from __future__ import annotations

from typing import BinaryIO, Final, cast

from apps.keyvalue.journal import Journal
from libsel4py import component
from libsel4py.files import Files
from libsel4py.interfaces.key_value import MOST_KEY_BYTES, MOST_VALUE_BYTES, KeyValue, TooLong, UnknownKey

PATH: Final = "store"


class _Disk:
    """The journal's file system."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def open(self, name: str, mode: str) -> BinaryIO:
        return cast(BinaryIO, self._files.open(name, mode, buffering=0))

    def exists(self, name: str) -> bool:
        return self._files.exists(name)

    def remove(self, name: str) -> None:
        self._files.remove(name)

    def sync(self, file: BinaryIO) -> None:
        self._files.fsync(file)

    def replace(self, old: str, new: str) -> None:
        self._files.rename(old, new)
        self._files.sync()


@component
class Main(KeyValue):
    """The store."""

    def start(self) -> None:
        path = str(self.task.environment.configuration.get("path", PATH))
        self._journal = Journal(_Disk(Files(self.uses.files)), path)
        for text in self._journal.damage:
            self.log.error("%s: %s", path, text)

    def get(self, key: str) -> bytes:
        found = self._journal.values.get(key)
        if found is None:
            raise UnknownKey(f"there is no value {key!r}")
        return found

    def put(self, key: str, value: bytes) -> None:
        if not 0 < len(key.encode()) <= MOST_KEY_BYTES or len(value) > MOST_VALUE_BYTES:
            raise TooLong(f"a name has 1 to {MOST_KEY_BYTES} bytes, a value at most {MOST_VALUE_BYTES}")
        self._commit({key: value})

    def delete(self, key: str) -> None:
        self.get(key)
        self._commit({key: None})

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._journal.values if key.startswith(prefix))

    def _commit(self, changes: dict[str, bytes | None]) -> None:
        self._journal.commit(changes)
        if self._journal.is_due:
            try:
                self._journal.compact()
            except OSError as error:
                self.log.warning("the journal stays as long as it is: %s", error)
