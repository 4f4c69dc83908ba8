"""The file of a suspended system: back as it was, and any other byte in it is found before anything is started."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.snapshots import SnapshotRefused, builder_digest, description_of, resumed
from hw.devices.framebuffer import MAGIC, DisplayMode
from hw.machine import DeviceDescription, DeviceKind, MachineDescription, create_ram
from hw.ram import Ram
from kerneld import boot, invariants, layout
from kerneld.host.snapshot_format import (
    CHUNK,
    FOOTER,
    VERSION,
    BadSnapshot,
    Disk,
    Trailer,
    copy_ram,
    digests,
    pack,
    read,
)
from kerneld.host.snapshot_format import MAGIC as MAGIC_OF_FILE
from kerneld.records import KernelRecord, ProcessState
from libsel4py import abi

RAM_BYTES = 16 << 20
HEAD = 24  # of the footer: all but the digest


def trailer_of(descriptor: int, description: bytes = b"", device: int = 0) -> Trailer:
    page = os.sysconf("SC_PAGESIZE")
    disks = (Disk("disk0", 4096, 7, 1),) if description else ()
    chunks = digests(descriptor, RAM_BYTES + device)
    return Trailer(
        layout.VERSION,
        page,
        RAM_BYTES,
        "test",
        "/test.toml",
        builder_digest(),
        description,
        1000,
        disks,
        chunks,
        device,
    )


def save(path: Path, ram: bytearray, description: bytes = b"") -> Trailer:
    with path.open("w+b") as file:
        file.truncate(len(ram))
        for at in range(0, len(ram), 4096):
            if ram.count(0, at, at + 4096) != 4096:
                file.seek(at)
                file.write(ram[at : at + 4096])
        file.flush()
        trailer = trailer_of(file.fileno(), description, len(ram) - RAM_BYTES)
        file.seek(0, os.SEEK_END)
        file.write(pack(trailer))
    return trailer


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def load(path: Path) -> tuple[Trailer, bytes]:
    """What a file holds, and RAM's first chunk and the one behind. Raises BadSnapshot."""
    with opened(path) as descriptor:
        trailer = read(descriptor)
        ram = create_ram(trailer.ram_bytes, "test")
        try:
            copy_ram(descriptor, trailer, ram)
            return trailer, os.pread(ram, 2 * CHUNK, 0)
        finally:
            os.close(ram)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshot") / "file"
    ram = bytearray(RAM_BYTES)
    ram[5000:5004] = b"here"
    ram[CHUNK + 7 : CHUNK + 12] = b"there"
    save(path, ram, b"a system")
    return path


def test_what_was_saved_comes_back(saved: Path) -> None:
    trailer, ram = load(saved)
    assert (ram[5000:5004], ram[CHUNK + 7 : CHUNK + 12]) == (b"here", b"there")
    assert ram.count(0) == 2 * CHUNK - 9
    assert (trailer.description, trailer.disks) == (b"a system", (Disk("disk0", 4096, 7, 1),))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_byte_can_change(saved: Path, data: st.DataObject) -> None:
    size = saved.stat().st_size
    regions = [(0, 2 * CHUNK), (2 * CHUNK, RAM_BYTES), (RAM_BYTES, size - FOOTER.size), (size - FOOTER.size, size)]
    first, behind = data.draw(st.sampled_from(regions))
    at, bit = data.draw(st.integers(first, behind - 1)), data.draw(st.integers(0, 7))
    with saved.open("r+b") as file:
        before = os.pread(file.fileno(), 1, at)
        os.pwrite(file.fileno(), bytes((before[0] ^ 1 << bit,)), at)
        try:
            with pytest.raises(BadSnapshot):
                load(saved)
        finally:
            os.pwrite(file.fileno(), before, at)
    load(saved)


@pytest.mark.parametrize("left", [0, 1, FOOTER.size, RAM_BYTES, RAM_BYTES + 100, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, saved: Path, left: int) -> None:
    path = tmp_path / "cut"
    with opened(saved) as source, path.open("wb") as file:
        size = saved.stat().st_size
        os.sendfile(file.fileno(), source, RAM_BYTES, size - RAM_BYTES)
        file.truncate(left if left >= 0 else size - RAM_BYTES - 1)
    with pytest.raises(BadSnapshot, match=r"cut off|damaged|bytes of RAM"):
        load(path)


def test_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save(path, bytearray(RAM_BYTES))
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), (9).to_bytes(4, "little"), path.stat().st_size - FOOTER.size + 8)
    with pytest.raises(BadSnapshot, match="format 9"):
        load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"disks": [{"name": "disk0", "size": math.inf, "inode": 7, "mtime_ns": 1}]},
        {"chunks": [(math.inf, bytes(32))]},
        {"chunks": [(0, 1 << 50)]},  # of so many bytes a digest was made
        {"source": "a\0b"},
    ],
)
def test_what_stands_behind_ram_is_of_its_types(tmp_path: Path, changed: dict[str, object]) -> None:
    """With the right checksum: whoever writes a file can make it."""
    path = tmp_path / "file"
    trailer = save(path, bytearray(RAM_BYTES))
    behind(path, msgpack.packb(asdict(trailer) | changed))
    with pytest.raises(SnapshotRefused, match="nothing that sel4py writes"):
        description_of(path)


def test_what_has_no_place_behind_ram_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    trailer = save(path, bytearray(RAM_BYTES))
    behind(path, msgpack.packb(asdict(trailer) | {"more": [{}] * (1 << 20)}))
    with opened(path) as descriptor:
        read(descriptor)  # loads what it needs
        tracemalloc.start()
        try:
            assert read(descriptor) == trailer
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def behind(path: Path, body: bytes) -> None:
    """Put this behind RAM, with a footer that fits."""
    head = struct.pack("<8sIIQ", MAGIC_OF_FILE, VERSION, 0, len(body))
    with path.open("r+b") as file:
        file.truncate(RAM_BYTES)
        file.seek(RAM_BYTES)
        file.write(body + head + hashlib.sha256(head + body).digest())


@pytest.fixture
def machine_ram() -> bytearray:
    ram = bytearray(RAM_BYTES)
    boot.boot(Ram(ram, layout.UNDO_LOG, layout.UNDO_LOG_BYTES), boot.BootParameters(RAM_BYTES, vspace_bits=20))
    return ram


def test_a_machine_is_made_ready(tmp_path: Path, machine_ram: bytearray) -> None:
    path = tmp_path / "file"
    save(path, machine_ram, b"")
    with resumed(path, MachineDescription(RAM_BYTES, ()), b"") as descriptor:
        content = bytearray(os.pread(descriptor, RAM_BYTES, 0))
    ram = Ram(content, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
    assert invariants.check(ram) == []
    kernel = KernelRecord.of(ram)
    assert kernel.initial_tcb is not None
    assert kernel.initial_tcb.process == ProcessState.LIVE
    assert kernel.outbox_length == 1
    assert abi.BOOT_INFO_EXTRA_RESUMED.to_bytes(8, "little") in content[layout.USER_BASE :]


def test_records_that_cannot_be_are_refused(tmp_path: Path, machine_ram: bytearray) -> None:
    """With the right checksums: whoever writes a file can make them."""
    ram = Ram(machine_ram, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
    initial = KernelRecord.of(ram).initial_tcb
    assert initial is not None
    ram.poke(initial.address, bytes(1024))
    path = tmp_path / "file"
    save(path, machine_ram)
    with (
        pytest.raises(SnapshotRefused, match="cannot be resumed"),
        resumed(path, MachineDescription(RAM_BYTES, ()), b""),
    ):
        pass


def test_another_layout_and_another_description_are_refused(tmp_path: Path, machine_ram: bytearray) -> None:
    path = tmp_path / "file"
    trailer = save(path, machine_ram)
    machine = MachineDescription(RAM_BYTES, ())
    with pytest.raises(SnapshotRefused, match="changed since"), resumed(path, machine, b"other"):
        pass
    for changed, why in ((replace(trailer, layout=99), "layout version 99"), (replace(trailer, builder="x"), "root")):
        with path.open("r+b") as file:
            file.truncate(RAM_BYTES)
            file.seek(RAM_BYTES)
            file.write(pack(changed))
        with pytest.raises(SnapshotRefused, match=why), resumed(path, machine, b""):
            pass


def test_a_disk_that_was_written_since_is_refused(tmp_path: Path, machine_ram: bytearray) -> None:
    path = tmp_path / "file"
    save(path, machine_ram, b"a system")
    bare = MachineDescription(RAM_BYTES, ())
    with pytest.raises(SnapshotRefused, match="the system has none"), resumed(path, bare, b"a system"):
        pass
    with (tmp_path / "disk").open("w+b") as disk:
        disk.truncate(4096)
        device = DeviceDescription("disk0", DeviceKind.VIRTIO_BLOCK, 0xC000, 10, None, descriptor=disk.fileno())
        machine = MachineDescription(RAM_BYTES, (device,))
        with pytest.raises(SnapshotRefused, match="disk0 was changed"), resumed(path, machine, b"a system"):
            pass


SCREEN = DeviceDescription("screen", DeviceKind.FRAMEBUFFER, 0x200, 5, display=DisplayMode(64, 64, 1))


def test_devices_memory_comes_back_with_ram(tmp_path: Path) -> None:
    machine = MachineDescription(RAM_BYTES, (SCREEN,))
    ram = bytearray(machine.memory_bytes)
    (memory,) = machine.device_memory
    assert memory is not None
    regions = (boot.DeviceRegion(memory.address, memory.size_bits),)
    parameters = boot.BootParameters(RAM_BYTES, vspace_bits=20, devices=regions)
    boot.boot(Ram(ram, layout.UNDO_LOG, layout.UNDO_LOG_BYTES), parameters)
    ram[memory.address : memory.address + 5] = b"drawn"
    ram[-4096:-4092] = b"????"  # its registers, as a driver may leave them
    path = tmp_path / "file"
    save(path, ram)
    with resumed(path, machine, b"") as descriptor:
        content = bytearray(os.pread(descriptor, machine.memory_bytes, 0))
    assert len(content) == machine.memory_bytes
    assert content[memory.address : memory.address + 5] == b"drawn"
    assert content[-4096:-4092] == MAGIC.to_bytes(4, "little")
    assert invariants.check(Ram(content, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)) == []


def test_a_machine_with_other_memory_behind_ram_is_refused(tmp_path: Path, machine_ram: bytearray) -> None:
    path = tmp_path / "file"
    save(path, machine_ram)
    with (
        pytest.raises(
            SnapshotRefused, match="16777216 bytes of RAM and 0 behind it, and the machine 16777216 and 32768"
        ),
        resumed(path, MachineDescription(RAM_BYTES, (SCREEN,)), b""),
    ):
        pass
