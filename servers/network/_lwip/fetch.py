"""Finds lwIP's source, and brings it where it is not: ``build/lwip``.

In this order: the folder that LWIP_SOURCE names; what was brought before; Debian's source package, by apt, in folders
of this tree, as any user. Its checksum is known: nothing else is compiled. Where none can be had the build goes on
without the network server's stack, and says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = "lwip"
SUITE: Final = "bookworm"
ARCHIVE: Final = "lwip_2.1.3+dfsg1.orig.tar.xz"
SHA256: Final = "0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24"
SECONDS: Final = 60
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_SOURCES: Final = Path("/etc/apt")


class NoLwip(Exception):
    """lwIP's source cannot be had; the text says why, and what would help."""


def source(root: Path) -> Path:
    """The folder of lwIP's source (it has ``src/core``). Raises NoLwip."""
    if chosen := os.environ.get("LWIP_SOURCE"):
        if not (Path(chosen) / "src" / "core").is_dir():
            raise NoLwip(f"LWIP_SOURCE is {chosen}, which has no src/core")
        return Path(chosen)
    folder = root / "build" / "lwip"
    if not (folder / "src" / "core").is_dir():
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    work = folder.with_name("lwip.new")
    shutil.rmtree(work, ignore_errors=True)
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "cache" / "archives" / "partial").mkdir(parents=True)
    address = next(_debian_addresses(), None)
    if address is None or shutil.which("apt-get") is None:
        raise NoLwip("this host has no Debian package source; unpack lwIP 2.1.3 and set LWIP_SOURCE to its folder")
    (work / "sources.list").write_text(f"deb-src [signed-by={KEYRING}] {address} {SUITE} main\n")
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={work / 'sources.list'}", "-o", "Dir::Etc::sourceparts=-"]
    apt += ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work / 'cache'}"]
    apt += ["-o", "APT::Sandbox::User=root"] if os.getuid() == 0 else []
    try:
        for words in (["update"], ["source", "--download-only", PACKAGE]):
            subprocess.run([*apt, *words], cwd=work, check=True, capture_output=True, timeout=SECONDS)
        data = (work / ARCHIVE).read_bytes()
    except (OSError, subprocess.SubprocessError) as error:
        raise NoLwip(
            f"lwIP's source package cannot be had ({error}); set LWIP_SOURCE to an unpacked lwIP 2.1.3"
        ) from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise NoLwip(f"{ARCHIVE} is not the one that is known; set LWIP_SOURCE to an unpacked lwIP 2.1.3")
    with tarfile.open(work / ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # not before Python 3.11.4; the checksum is what we stand on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(work / "unpacked")
    unpacked = work / "unpacked"
    found = next((path.parents[1] for path in unpacked.glob("**/src/core")), None)
    if found is None:
        raise NoLwip(f"{ARCHIVE} has no src/core in it; set LWIP_SOURCE to an unpacked lwIP 2.1.3")
    shutil.rmtree(folder, ignore_errors=True)
    found.rename(folder)
    shutil.rmtree(work)


def _debian_addresses() -> Iterator[str]:
    """Where this host gets Debian's packages from, in either form of its files."""
    files = [APT_SOURCES / "sources.list", *sorted((APT_SOURCES / "sources.list.d").glob("*"))]
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        for line in text.splitlines():
            words = re.sub(r"\[.*?\]", "", line).split()
            if not words or words[0] not in ("deb", "URIs:"):
                continue
            address = words[1].rstrip("/")
            if address.endswith("/debian"):
                yield address
