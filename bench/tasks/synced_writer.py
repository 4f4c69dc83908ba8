"""Writes to a file, synchronises, reads it again, without a pause: what a disk, its driver and a file system do.

Settings: ``seconds``, from the word on (`starting.py`). Then it prints one line of JSON that begins with ``@``:
``written``, bytes that were synchronised, and ``wrong``, how many of those read otherwise.
"""

from __future__ import annotations

import json
import os
import random
import time

from bench.tasks.starting import wait_for_word
from libsel4py import Component, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.namespace import Namespace

BYTES = 8192


@component
class Main(Component):
    """Writes."""

    files = uses(Namespace)

    def run(self) -> int:
        files = Files(self.files)
        wait_for_word(files, "/tmp")
        end = time.monotonic() + float(str(self.task.environment.configuration["seconds"]))
        source, written, wrong = random.Random(1), 0, 0
        while time.monotonic() < end:
            data = source.randbytes(BYTES)
            with files.open("/var/load", "w+b", buffering=0) as file:
                file.write(data)
                files.fsync(file)
                file.seek(0, os.SEEK_SET)
                read = file.read(BYTES)
            written += BYTES
            wrong += sum(a != b for a, b in zip(data, read, strict=True)) if len(read) == BYTES else BYTES
        print("@" + json.dumps({"written": written, "wrong": wrong}), flush=True)
        return 0
