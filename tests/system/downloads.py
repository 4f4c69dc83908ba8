"""Clients of a web server that may die at any moment: each gets one page after the other, and goes on where it was cut.

Rules. A client that was cut off asks for the rest (Range, RFC 9110 section 14); one that gets nothing for
`PATIENCE_SECONDS` connects anew, as any client that must not wait for ever. While servers are killed somebody has to
get something (`wait_bytes`), and when that is over everybody. What came is hashed as it comes, so a byte
that is wrong, missing or there twice shows at the page's end.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus

from tests.system.kill_scene import Page

PATIENCE_SECONDS = 20.0
NOBODY_SECONDS = 120.0  # without a byte: the server does not come back
RETRY_SECONDS = 0.02  # after a refusal
READ_BYTES = 64 << 10


class Wrong(AssertionError):
    """A page is not what it should be, or does not come."""


class Downloads:
    """So many clients, each on a thread of its own, from now to `stop`.

    Attributes: ``pages``, ``resumed``, ``bytes``: whole pages, how often one was asked for from its middle, and what
        came in all.
    """

    def __init__(self, page: Page, clients: int) -> None:
        self._page = page
        self.pages = self.resumed = self.bytes = 0
        self.errors: list[BaseException] = []
        self._stopped, self._stopping = 0.0, False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def wait_bytes(self) -> None:
        """Until something comes that has not come yet. Raises AssertionError: nothing does."""
        with self._changed:
            before = self.bytes
            assert self._changed.wait_for(lambda: self.bytes > before or self.errors, NOBODY_SECONDS), "nothing comes"

    def stop(self) -> None:
        """Let each client finish its page. Raises what one of them has raised."""
        self._stopped, self._stopping = time.monotonic(), True
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        try:
            while not self._stopping and not self.errors:
                self._get()
        except BaseException as error:
            with self._changed:
                self.errors.append(error)
                self._changed.notify_all()

    def _get(self) -> None:
        """One page."""
        digest, have, heard = hashlib.sha256(), 0, time.monotonic()
        while have < self._page.size:
            before = have
            try:
                for data in self._part(have):
                    digest.update(data)
                    have += len(data)
                    with self._changed:
                        self.bytes += len(data)
                        self._changed.notify_all()
            except (OSError, http.client.HTTPException) as error:
                if self._stopping and time.monotonic() - max(heard, self._stopped) > NOBODY_SECONDS:
                    raise Wrong(f"nobody serves {self._page.path}: {error!r}") from error
                time.sleep(RETRY_SECONDS)
            if have > before:
                heard = time.monotonic()
                with self._changed:
                    self.resumed += have < self._page.size
        if digest.hexdigest() != self._page.digest:
            raise Wrong(f"{self._page.path} is not what was put there")
        with self._changed:
            self.pages += 1

    def _part(self, start: int) -> Iterator[bytes]:
        with closing(http.client.HTTPConnection(*self._page.address, timeout=PATIENCE_SECONDS)) as client:
            client.request("GET", self._page.path, headers={"Range": f"bytes={start}-"})
            response = client.getresponse()
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                raise Wrong(f"{self._page.path} from {start}: {response.status}")
            if response.headers["Content-Range"] != f"bytes {start}-{self._page.size - 1}/{self._page.size}":
                raise Wrong(f"{self._page.path} from {start}: {response.headers['Content-Range']}")
            while data := response.read1(READ_BYTES):
                yield data
