"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

page NAME BYTES            a file of so many bytes
"""

from __future__ import annotations

import json

from libsel4py import Component, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.file import Directory


@component
class Main(Component):
    """Writes."""

    console = uses(Console)
    files = uses(Directory)

    def run(self) -> int:
        kept = Files(self.files, buffer_bytes=64 << 10, pool_bits=16)
        while True:
            name, *arguments = self.console.read_line("", echo=False).split()
            if name == "end":
                return 0
            with kept.open_raw(arguments[0], "wb") as file:
                file.write(bytes(int(arguments[1])))
            self.console.write(f"@{json.dumps({'bytes': int(arguments[1])})}\n")
