"""Linux's own TCP/IP as a peer: a network namespace of a test's own, with a tap in it. Needs root.

A namespace is a thread's, and of all that this thread starts; it goes with the last of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
TUNSETIFF, TAP_NO_PI = 0x400454CA, 0x1002
TAP = "tap0"
FRAME_BYTES = 70_000


def _why_not() -> str | None:
    if os.geteuid() != 0:
        return "only root makes a network namespace here"
    if shutil.which("ip") is None:
        return "the command ip (iproute2) is missing"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    found = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if found.returncode == 0 else "this host refuses network namespaces"


WHY_NOT = _why_not()


def enter_namespace() -> None:
    """Go into a new namespace, in which nothing is but the loopback, which is up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    ip("link set lo up")


@contextlib.contextmanager
def network_namespace(*commands: str) -> Iterator[None]:
    """A new namespace, made by commands of ``ip``; this thread is where it was afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter_namespace()
        try:
            for command in commands:
                ip(command)
            yield
        finally:
            if libc.setns(before, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)


def ip(command: str) -> None:
    """Run a command of ``ip``."""
    subprocess.run(["ip", *command.split()], check=True)


def open_tap(mac: str, mtu: int, *addresses: str) -> int:
    """A tap of this process's, up, with these addresses (and prefixes): a descriptor of frames."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", TAP.encode(), TAP_NO_PI))
    ip(f"link set {TAP} address {mac} mtu {mtu} up")
    for address in addresses:
        ip(f"addr add {address} dev {TAP}{' nodad' if ':' in address else ''}")
    return descriptor


def pump(source: int, target: int) -> None:
    """Hand frames on from one descriptor to another, until one of them ends."""
    with contextlib.suppress(OSError):
        while frame := os.read(source, FRAME_BYTES):
            os.write(target, frame)
