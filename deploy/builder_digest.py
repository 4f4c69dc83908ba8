"""Which code root is of: a resumed root does again what it did at boot (servers/root/replay.py)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from libsel4py import abi


@cache
def builder_digest() -> str:
    """Of all code that decides where root makes what."""
    digest, sdk = hashlib.sha256(), Path(abi.__file__).parent
    root = sdk.parent / "servers" / "root"
    named = [sdk / "abi.py", sdk / "description.py", sdk / "environment.py", *sdk.glob("lowlevel/*.py")]
    for file in sorted([*named, *root.glob("*.py")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
