"""Finds lwIP's source, for the build: `LWIP_SOURCE`, or Debian's source package, which apt fetches and verifies.

Rules: everything is written below the folder that is given; apt's own folders are neither read nor changed, besides the
host's list of sources, which says where Debian's packages are. What was unpacked once is used again. Nothing is used
whose SHA-256 is another one.
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

VERSION: Final = "2.1.3"
SHA256: Final = "0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24"
SUITE: Final = "bookworm"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECONDS: Final = 60  # that apt may take
_URI = r"[a-z+]+://\S+?/debian/?(?=\s|$)"


class NoSource(Exception):
    """lwIP's source cannot be had; the text says why, and what would help."""


def source(cache: Path) -> Path:
    """The folder `src` of lwIP. Raises NoSource."""
    given = os.environ.get("LWIP_SOURCE")
    if given:
        return _checked(Path(given))
    folder = cache / f"lwip-{VERSION}"
    if not (folder / "src/core/tcp.c").is_file():
        archive = cache / f"lwip_{VERSION}.orig.tar.xz"
        if not (archive.is_file() and _sha256(archive) == SHA256):
            _fetch(cache, archive)
        _unpack(archive, folder)
    return _checked(folder)


def _checked(folder: Path) -> Path:
    for candidate in (folder / "src", folder):
        if (candidate / "core/tcp.c").is_file():
            return candidate.resolve()
    raise NoSource(f"{folder} is not lwIP's source: there is no src/core/tcp.c in it")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fetch(cache: Path, archive: Path) -> None:
    if shutil.which("apt-get") is None or not KEYRING.is_file():
        raise NoSource(f"this host has no apt with Debian's keyring; unpack lwIP {VERSION} and set LWIP_SOURCE to it")
    uri = next(_uris(Path("/etc/apt")), None)
    if uri is None:
        raise NoSource(f"this host's apt knows no source of Debian's; unpack lwIP {VERSION} and set LWIP_SOURCE to it")
    state = cache.resolve() / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text(f"deb-src [signed-by={KEYRING}] {uri} {SUITE} main\n")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    _run([*apt, "update"], state)
    _run([*apt, "source", "--download-only", "lwip"], state)
    found = next(state.glob("lwip_*.orig.tar.*"), None)
    if found is None or _sha256(found) != SHA256:
        raise NoSource(f"apt gave another lwIP than {VERSION}; set LWIP_SOURCE to a folder with that one")
    found.replace(archive)
    shutil.rmtree(state)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        raise NoSource(f"apt could not fetch it: {error.stderr.strip() or error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSource(f"apt could not fetch it: {error}") from error


def _uris(folder: Path) -> Iterator[str]:
    """Where the host's apt has Debian's packages from: files of one line a source, and of fields (deb822)."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            if re.match(r"\s*(deb|deb-src|URIs:)\s", line):
                yield from re.findall(_URI, line)


def _unpack(archive: Path, folder: Path) -> None:
    unpacked = folder.with_suffix(".new")
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    inner = next(path for path in unpacked.iterdir() if (path / "src/core").is_dir())
    shutil.rmtree(folder, ignore_errors=True)
    inner.replace(folder)
    shutil.rmtree(unpacked)
