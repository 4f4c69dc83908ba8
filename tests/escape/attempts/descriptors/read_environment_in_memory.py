"""Read the environment of those who started the system where the host laid it: in the own memory, behind the arguments.

Stopped by: descriptors
Outside: works
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from tests.escape import linux
from tests.escape.stage import STARTERS, Stage

PAGE = 4096


def attempt(_stage: Stage) -> object:
    """From the program's name on, page by page: where the host's memory ends, so does what write(2) takes."""
    at = ctypes.c_size_t.in_dll(ctypes.CDLL(None), "program_invocation_name").value
    reader, writer = os.pipe()
    found = b""
    with contextlib.suppress(OSError):
        while True:
            length = linux.system_call("write", writer, at, PAGE - at % PAGE)
            found += os.read(reader, length)
            at += length
    return [each for each in found.split(b"\0") if each.startswith(f"{STARTERS}=".encode())]
