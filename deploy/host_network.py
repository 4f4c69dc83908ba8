"""What a network device stands on at the host: read from the description, opened when the system starts.

Rules as in `deploy.host_devices`: all is opened by the process that becomes the monitor; kernel and helper processes
get descriptors. Back ends: ``user`` (a process that is the guest's gateway), ``switch`` (a process that joins systems
of this user, or one system's devices), ``tap`` (an interface of the host), ``starter`` (frames go to the program that
starts the system, which brings the descriptor: `sel4py run` does).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from deploy.names import NAME_PATTERN, NAME_RULE
from deploy.problems import dotted
from deploy.reader import Table
from deploy.runtime import SOCKET_PATH_LIMIT, RuntimeRefused, ensure_private, runtime_folder
from hw.devices.frame_link import pair_of_sockets
from hw.devices.net import HIGHEST_MTU, LOWEST_MTU
from hw.devices.user_network.connection_memory import create_memory
from hw.devices.user_network.forward import Forward
from hw.helpers import Helper
from hw.machine import NetworkInterface
from hw.runtime_folder import SWITCHES

MTU: Final = 1500
_TAP_MTU_HIGH: Final = 65521
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class NetworkBackend(Enum):
    USER = "user"
    SWITCH = "switch"
    TAP = "tap"
    STARTER = "starter"


@dataclass(frozen=True)
class NetworkLink:
    """A network device's keys. ``mac`` None: made from the names of system and device.

    ``private``: no other system is on that ``link``. ``descriptor``: of who starts the system, with that back end.
    """

    backend: NetworkBackend
    mac: bytes | None
    mtu: int
    forwards: tuple[Forward, ...] = ()
    outgoing: bool = True
    link: str = ""
    private: bool = False
    interface: str = ""
    descriptor: int = -1

    def interface_of(self, system: str, device: str, forwards: tuple[str, ...] = ()) -> NetworkInterface:
        """The machine's side of it. ``forwards``: what was opened, with the ports that the host has chosen."""
        made = b"\x52\x54\x00" + hashlib.sha256(f"{system}/{device}".encode()).digest()[:3]
        return NetworkInterface(self.mac or made, self.mtu, forwards)


def read_network(table: Table) -> NetworkLink:
    """A network device's keys."""
    table.require("backend", "'user'")
    backend = NetworkBackend(table.string("backend", "user", tuple(each.value for each in NetworkBackend)))
    mac = _mac(table)
    high = _TAP_MTU_HIGH if backend is NetworkBackend.TAP else HIGHEST_MTU
    mtu = table.integer("mtu", MTU, LOWEST_MTU, high)
    match backend:
        case NetworkBackend.USER:
            return NetworkLink(backend, mac, mtu, _forwards(table), table.boolean("outgoing", True))
        case NetworkBackend.SWITCH:
            table.require("link", "the name of a switch, such as 'lan'; systems that name the same one are joined")
            link = table.string("link")
            if table.has("link") and not NAME_PATTERN.fullmatch(link):
                table.report("link", f"is {link!r}", NAME_RULE)
            return NetworkLink(backend, mac, mtu, link=link, private=table.boolean("private", False))
        case NetworkBackend.TAP:
            table.require("interface", "the host's name of it, such as 'tap0'")
            interface = table.string("interface")
            if table.has("interface") and not _INTERFACE.fullmatch(interface):
                table.report("interface", f"is {interface!r}", "an interface's name has 1 to 15 letters, digits, _ . -")
            return NetworkLink(backend, mac, mtu, interface=interface)
        case NetworkBackend.STARTER:
            return NetworkLink(backend, mac, mtu)


class OpenLink(NamedTuple):
    """The kernel's descriptor of frames, the process at its other end, and what the machine has of it."""

    descriptor: int
    helper: Helper | None
    interface: NetworkInterface


def open_link(stack: ExitStack, system: str, device: str, link: NetworkLink) -> OpenLink:
    """All that a network device stands on, open as long as ``stack``. Raises RuntimeRefused."""
    interface = link.interface_of(system, device)
    if link.backend is NetworkBackend.TAP:
        descriptor = _open_tap(device, link.interface)
        stack.callback(os.close, descriptor)
        return OpenLink(descriptor, None, interface)
    if link.backend is NetworkBackend.STARTER:
        if link.descriptor < 0:
            raise RuntimeRefused(f"device {device}: its frames go to the program that starts the system, and this none")
        return OpenLink(link.descriptor, None, interface)
    ours, theirs = (stack.enter_context(end) for end in pair_of_sockets())
    frames = ["--frames", str(theirs.fileno())]
    name = f"network.{device}"  # no task has such a name
    if link.backend is NetworkBackend.SWITCH:
        arguments = [*frames, "--path", str(_switch_path(system, device, link))]
        helper = Helper(name, "hw.devices.network_switch", arguments, (theirs.fileno(),))
        return OpenLink(ours.fileno(), helper, interface)
    arguments = [*frames, "--mac", interface.mac.hex(), "--mtu", str(link.mtu)]
    inherited = [theirs.fileno()]
    opened: list[str] = []
    if not link.outgoing:
        arguments.append("--no-outgoing")
    for forward in link.forwards:
        listener = _listen(device, forward)
        stack.enter_context(listener)
        inherited.append(listener.fileno())
        opened.append(str(replace(forward, host_port=listener.getsockname()[1])))
        arguments += ["--forward", f"{listener.fileno()}:{forward.guest_port}"]
    memory = create_memory()
    stack.callback(os.close, memory)
    inherited.append(memory)
    arguments += ["--connections", str(memory)]
    helper = Helper(name, "hw.devices.user_network", arguments, inherited, keeps=True)
    return OpenLink(ours.fileno(), helper, link.interface_of(system, device, tuple(opened)))


def _switch_path(system: str, device: str, link: NetworkLink) -> Path:
    """Where the parts of a switch find each other. Raises RuntimeRefused.

    One that is the system's own is in the system's folder, and that part of it is made and removed with the system.
    """
    if link.private:
        path = runtime_folder() / system / SWITCHES / link.link
    else:
        folder = runtime_folder() / ".links"  # no system has such a name
        ensure_private(folder.parent)
        ensure_private(folder)
        path = folder / link.link
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise RuntimeRefused(
            f"device {device}: {path} is too long for a socket's address; set SEL4PY_RUNTIME_DIR to a shorter one"
        )
    return path


def _mac(table: Table) -> bytes | None:
    text = table.string("mac")
    if not text:
        return None
    remedy = "write six bytes such as '52:54:00:12:34:56', of which the first is even"
    if not _MAC.fullmatch(text) or int(text[:2], 16) & 1:
        table.report("mac", f"is {text!r}", remedy)
        return None
    return bytes.fromhex(text.replace(":", ""))


def _forwards(table: Table) -> tuple[Forward, ...]:
    found: dict[tuple[str, str, int], Forward] = {}
    for index, text in enumerate(table.strings("forward")):
        path = (*table.path, "forward", index)
        try:
            forward = Forward.parse(text)
        except ValueError as error:
            table.problems.add(path, f"{dotted(path)} is {text!r}", str(error))
            continue
        key = (forward.protocol, forward.host, forward.host_port)
        if forward.host_port and key in found:
            table.problems.add(path, f"{dotted(path)} repeats the host's port {forward.host_port}", "give it another")
        found[key if forward.host_port else (*key[:2], -index - 1)] = forward
    return tuple(found.values())


def _listen(device: str, forward: Forward) -> socket.socket:
    try:
        return forward.listen()
    except OSError as error:
        remedy = "use port 0 for any free one, or another port"
        if isinstance(error, PermissionError):
            remedy = "ports below 1024 are the host's; use another one"
        raise RuntimeRefused(
            f"device {device}: the host does not listen at {forward.protocol} {forward.host}:{forward.host_port}: "
            f"{error.strerror}; {remedy}"
        ) from error


def _open_tap(device: str, interface: str) -> int:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeRefused(f"device {device}: /dev/net/tun cannot be opened: {error.strerror}; {_TAP}") from error
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", interface.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError as error:
        os.close(descriptor)
        raise RuntimeRefused(
            f"device {device}: the host does not give the interface {interface}: {error.strerror}; {_TAP}"
        ) from error
    return descriptor


_TAP: Final = (
    "backend 'user' needs no right of the host; for a tap, its owner can be made you by root: "
    "ip tuntap add dev tap0 mode tap user NAME"
)
