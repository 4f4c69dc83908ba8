"""Clients of the host's that get one page again and again, and go on where a dead server has cut them off."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from contextlib import closing
from http import HTTPStatus

PATIENCE_SECONDS = 5.0  # without a byte: connect anew
RETRY_SECONDS = 0.005  # after a refusal
READ_BYTES = 256 << 10


class Getting:
    """So many clients, for a while.

    Args:
        port: of this host. size, digest: of the page, in bytes, and as SHA-256's hexadecimal digits.
    """

    def __init__(self, port: int, path: str, size: int, digest: str, clients: int) -> None:
        self._port, self._path, self._size, self._digest = port, path, size, digest
        self._clients = clients
        self._lock = threading.Lock()

    def get(self, seconds: float) -> tuple[int, float]:
        """Bytes that came, and the seconds that this has taken; a page that is begun is got to its end by then or
        dropped.

        Raises:
            ValueError: a page is not what it should be.
        """
        self._bytes, self._wrong = 0, list[BaseException]()
        start = time.monotonic()
        threads = [threading.Thread(target=self._run, args=(start + seconds,)) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._wrong:
            raise self._wrong[0]
        return self._bytes, time.monotonic() - start

    def _run(self, end: float) -> None:
        try:
            while time.monotonic() < end:
                self._page(end)
        except BaseException as error:
            self._wrong.append(error)

    def _page(self, end: float) -> None:
        digest, have = hashlib.sha256(), 0
        while have < self._size:
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)) as client:
                    client.request("GET", self._path, headers={"Range": f"bytes={have}-"})
                    response = client.getresponse()
                    if response.status != HTTPStatus.PARTIAL_CONTENT:
                        raise ValueError(f"the page from byte {have}: status {response.status}")
                    while data := response.read1(READ_BYTES):
                        if time.monotonic() >= end:
                            return
                        digest.update(data)
                        have += len(data)
                        with self._lock:
                            self._bytes += len(data)
            except (OSError, http.client.HTTPException):
                if time.monotonic() >= end:
                    return
                time.sleep(RETRY_SECONDS)
        if digest.hexdigest() != self._digest:
            raise ValueError("a page is not what was put there")
