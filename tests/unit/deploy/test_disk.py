"""``sel4py disk``: made, filled, read by the plain library, refused, damaged."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from littlefs import LittleFS
from littlefs.context import UserContext

from deploy.cli import main
from deploy.disk import PART_NAME, DiskRefused, FileStore, checked, create, get, inside, opened, put
from hw.devices.disk_image import DiskImage
from libsel4py.littlefs import LittleFsVolume, MemoryStore, StoreFailed, format_store
from libsel4py.littlefs.cache import BlockCache
from libsel4py.littlefs.check import check
from libsel4py.partitions import FIRST_SECTOR

BIG = random.Random(7).randbytes(300_000)


def run(*words: object, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["disk", *map(str, words)])
    assert result.exit_code == status, result.output
    return result.output


def answer(*words: object, status: int = 0) -> dict[str, object]:
    found = json.loads(run(*words, "--json", status=status))
    assert found["ok"] is (status == 0)
    return found  # type: ignore[no-any-return]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    run("create", path, "--size", "4M")
    return path


def plain(path: Path, offset: int = 0, block_bytes: int = 16384) -> tuple[LittleFS, bytearray]:
    data = bytearray(path.read_bytes()[offset:])
    blocks = len(data) // block_bytes
    theirs = LittleFS(UserContext(buffer=data), block_size=block_bytes, block_count=blocks, mount=False)
    return theirs, data


def test_what_is_imported_is_read_by_the_plain_library_and_exported_again(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "big").write_bytes(BIG)
    (folder / "sub" / "empty").write_bytes(b"")
    assert run("import", image, folder, "/") == f"copied 2 files into {image}\n"
    theirs, _ = plain(image)
    theirs.mount()
    with theirs.open("docs/big", "rb") as reader:
        assert reader.read() == BIG
    run("export", image, "docs", tmp_path / "back")
    assert (tmp_path / "back" / "big").read_bytes() == BIG
    assert (tmp_path / "back" / "sub" / "empty").read_bytes() == b""
    assert answer("ls", image, "docs")["result"] == [
        {"name": "big", "kind": "file", "size": len(BIG)},
        {"name": "sub", "kind": "directory", "size": None},
    ]
    assert "the file system is whole" in run("check", image)


def test_what_the_plain_library_wrote_is_listed_exported_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "theirs.img"
    path.write_bytes(bytes(64 * 4096))
    theirs, data = plain(path, block_bytes=4096)
    theirs.format()
    theirs.mount()
    theirs.mkdir("d")
    with theirs.open("d/f", "wb") as writer:
        writer.write(BIG[:20_000])
    theirs.unmount()
    path.write_bytes(data)
    run("export", path, "d/f", tmp_path)
    assert (tmp_path / "f").read_bytes() == BIG[:20_000]
    found = answer("check", path)["result"]
    assert isinstance(found, dict)
    assert (found["files"], found["directories"], found["file_bytes"], found["orphans"]) == (1, 1, 20_000, 0)


def test_an_import_replaces_and_goes_into_a_directory(image: Path, tmp_path: Path) -> None:
    source = tmp_path / "f"
    for text in (b"a longer first", b"second"):
        source.write_bytes(text)
        run("import", image, source, "/")
    run("export", image, "f", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"second"


def test_a_partition_has_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    run("create", path, "--size", "4M", "--partition")
    (tmp_path / "f").write_bytes(b"inside")
    run("import", path, tmp_path / "f", "g")
    assert "g" in run("ls", path, "--partition", 1)
    theirs, _ = plain(path, FIRST_SECTOR * 512)
    theirs.mount()
    assert theirs.listdir("/") == ["g"]
    assert "no partition 2; it has 1" in run("ls", path, "--partition", 2, status=1)


@pytest.mark.parametrize("words", [("ls",), ("check",), ("import", "README.md", "/"), ("export", "/", "x")])
def test_an_image_in_use_is_refused(image: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image.parent)
    Path("README.md").write_text("x")
    with image.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "in use by another system" in run(words[0], image, *words[1:], status=1)


def test_what_cannot_be_is_told(image: Path, tmp_path: Path) -> None:
    assert "exists, and would be lost" in run("create", image, "--size", "4M", status=1)
    assert "write a whole number with K, M, G or T" in run("create", tmp_path / "x", "--size", "4", status=1)
    assert "too few" in run("create", tmp_path / "x", "--size", "4K", status=1)
    assert not (tmp_path / "x").exists()
    assert "sel4py disk create makes one" in run("ls", tmp_path / "x", status=1)
    (tmp_path / "text").write_bytes(b"no image" * 1024)
    assert "there is no littlefs here" in run("ls", tmp_path / "text", status=1)
    assert "no partitions" in run("ls", image, "--partition", 1, status=1)
    assert "missing" in run("ls", image, "missing", status=1)
    assert answer("export", image, "missing", tmp_path, status=1)["error"]
    (tmp_path / "large").write_bytes(bytes(5 << 20))
    assert "is full, or will be" in run("import", image, tmp_path / "large", "/", status=1)
    assert answer("ls", image)["result"] == []
    assert "whole" in run("check", image)


def test_an_import_leaves_a_whole_disk_whatever_the_folder_has(image: Path, tmp_path: Path) -> None:
    """A link back to where it is, folders deeper than any path: each is told."""
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "up").symlink_to(tmp_path / "round")
    (tmp_path / "deep" / "/".join(["d" * 20] * 40)).mkdir(parents=True)
    assert "a copy of it would have no end" in run("import", image, tmp_path / "round", "/", status=1)
    assert "it has more than 700 bytes" in run("import", image, tmp_path / "deep", "/", status=1)
    assert "the file system is whole" in run("check", image)


def test_a_folder_that_stands_at_two_places_is_copied_twice(image: Path, tmp_path: Path) -> None:
    (tmp_path / "docs" / "one").mkdir(parents=True)
    (tmp_path / "docs" / "one" / "f").write_bytes(b"x")
    (tmp_path / "docs" / "two").symlink_to("one")
    assert "copied 2 files" in run("import", image, tmp_path / "docs", "/")


def test_a_deep_folder_comes_out_again(image: Path, tmp_path: Path) -> None:
    names = "/".join(["d"] * 100)
    (tmp_path / "deep" / names).mkdir(parents=True)
    (tmp_path / "deep" / names / "f").write_bytes(b"x")
    assert "copied 1 file" in run("import", image, tmp_path / "deep", "/")
    assert "the file system is whole" in run("check", image)
    run("export", image, "deep", tmp_path / "out")
    assert (tmp_path / "out" / names / "f").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["../x", "a/../b", "a\0b", "n" * 256])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(DiskRefused, match="is no path in an image"):
        inside(path)


def test_a_file_is_put_into_a_directory_that_is_there(image: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "f").write_bytes(b"x")
    assert "no directory www/docs; importing a folder" in run(
        "import", image, tmp_path / "docs" / "f", "www/docs/f", status=1
    )
    run("import", image, tmp_path / "docs", "www")
    run("import", image, tmp_path / "docs", "www")
    assert "f" in run("ls", image, "www/docs")


def test_a_name_in_an_image_does_not_lead_out_of_the_folder(image: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"evil")
    run("import", image, tmp_path / "f", "aXX-evil")
    data = image.read_bytes()
    assert data.count(b"aXX-evil") == 1
    at = data.index(b"aXX-evil")
    with image.open("r+b") as file:
        file.write(_with_bytes(data, at, b"../-evil"))
    assert "a name that no file can have" in run("check", image, status=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").mkdir()
    assert "is a name that no file can have" in run("export", image, "/", tmp_path / "out" / "deep", status=1)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["deep"]


@pytest.mark.parametrize("name", ["read", "prog", "sync"])
def test_an_import_that_is_interrupted_leaves_a_whole_disk(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Ctrl-C, while littlefs calls back, is heard when it does not: a file is there whole or not at all."""
    (tmp_path / "docs").mkdir()
    for number in range(3):
        (tmp_path / "docs" / str(number)).write_bytes(BIG)
    original = getattr(BlockCache, name)
    calls = 0

    def called(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls % 7 == 3:
            signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(BlockCache, name, called)
    with pytest.raises(KeyboardInterrupt), opened(image, None, read_only=False) as volume:
        put(volume, tmp_path / "docs", "")
    monkeypatch.undo()
    assert calls >= 3
    assert "the file system is whole" in run("check", image)
    assert all(row["name"] != PART_NAME for row in answer("ls", image)["result"])  # type: ignore[attr-defined]
    run("export", image, "/", tmp_path / "out")
    assert {each.read_bytes() for each in (tmp_path / "out").rglob("*") if each.is_file()} <= {BIG}


def test_an_interrupted_export_leaves_what_was_there(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_bytes(BIG)
    run("import", image, tmp_path / "big", "/")
    target = tmp_path / "out" / "kept"
    target.parent.mkdir()
    target.write_bytes(b"former")
    target.chmod(0o640)

    def read(store: FileStore, offset: int, size: int) -> bytes:
        signal.raise_signal(signal.SIGINT)
        return plainly(store, offset, size)

    plainly = FileStore.read
    monkeypatch.setattr(FileStore, "read", read)
    with pytest.raises(KeyboardInterrupt), opened(image, None, read_only=True) as volume:
        get(volume, "big", target, image)
    monkeypatch.undo()
    assert (target.read_bytes(), os.listdir(target.parent)) == (b"former", ["kept"])
    (target.parent / "link").symlink_to("kept")
    run("export", image, "big", target.parent / "link")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (BIG, 0o640)
    run("export", image, "big", "/dev/null")
    assert os.stat("/dev/null").st_rdev


def test_an_export_does_not_replace_its_image(image: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    run("import", image, tmp_path / "f", image.name)
    assert "is the image itself" in run("export", image, image.name, image, status=1)
    assert "is the image itself" in run("export", image, "/", image.parent, status=1)
    assert "the file system is whole" in run("check", image)


def test_no_file_of_an_image_is_taken_for_a_copy_that_is_not_whole(image: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / ".import").write_bytes(b"kept")
    (tmp_path / "docs" / "z").write_bytes(b"z")
    assert "copied 2 files" in run("import", image, tmp_path / "docs", "/")
    assert ".import" in run("ls", image, "docs")
    assert "not whole yet" in run("import", image, tmp_path / "docs" / "z", PART_NAME, status=1)


def test_what_cannot_be_an_image_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in run("ls", tmp_path / "pipe", status=1)
    assert "cannot have" in run("create", tmp_path / "x", "--size", "99999999999G", status=1)
    assert "cannot have" in run("create", tmp_path / "x", "--size", "4000000T", status=1)
    assert not (tmp_path / "x").exists()


def _with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    """The same image, with other bytes at ``at``, and the CRC of their commit made good (littlefs SPEC.md)."""
    block = at // 16384 * 16384
    changed = bytearray(data)
    changed[at : at + len(new)] = new
    where, tag, begin = block + 4, 0xFFFFFFFF, block
    while where < block + 4096:
        tag ^= int.from_bytes(changed[where : where + 4], "big")
        size = 0 if tag & 0x3FF == 0x3FF else tag & 0x3FF
        if tag >> 20 & 0x780 == 0x500 and tag >> 20 & 0x7FC != 0x5FC:
            crc = _crc(changed[begin : where + 4])
            if begin <= at < where:
                changed[where + 4 : where + 8] = crc.to_bytes(4, "little")
            begin = where + 4 + size
            tag ^= (tag >> 20 & 1) << 31
            where = begin
            continue
        where += 4 + size
    return bytes(changed)


def _crc(data: bytes | bytearray) -> int:
    """CRC-32 without its final inversion (littlefs SPEC.md)."""
    return zlib.crc32(data) ^ 0xFFFFFFFF


def test_a_file_that_cannot_be_read_and_one_that_has_anothers_blocks_are_found() -> None:
    store = MemoryStore(4 << 20)
    format_store(store)
    volume = LittleFsVolume(store)
    for name in ("a", "b"):
        file = volume.open(name, create=True, exclusive=True)
        file.write(0, BIG[:16_000])
        file.close()
    assert check(store).problems == []
    data = bytes(store.data)
    ours, others = (block for block in range(2, 256) if data[block * 16384 :].startswith(BIG[:64]))
    shared = _with_head(data, ours, others)
    assert check(MemoryStore(data=bytearray(shared))).problems == [f"b: block {others} is of a, too"]
    (problem,) = check(MemoryStore(data=bytearray(_with_head(data, ours, 9999)))).problems
    assert problem.startswith("a: the file cannot be read")


def _with_head(data: bytes, old: int, new: int) -> bytes:
    """The same image, with another first block of the file of 16,000 bytes that begins at block ``old``."""
    sought, put = ((head.to_bytes(4, "little") + (16_000).to_bytes(4, "little")) for head in (old, new))
    at = data.find(sought)
    while at >= 0:
        data = _with_bytes(data, at, put)
        at = data.find(sought)
    return data


def test_damage_that_ends_littlefs_is_an_answer(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.disk.check", lambda store: os.kill(os.getpid(), signal.SIGKILL))
    assert checked(image, None).problems == ["it is damaged so that littlefs gives up"]


def test_a_disk_that_is_too_small_for_a_partition_is_refused(tmp_path: Path) -> None:
    said = run("create", tmp_path / "x", "--size", "1M", "--partition", status=1)
    assert "1048576 bytes are too few for a partition, which begins behind 1048576" in said
    said = run("create", tmp_path / "x", "--size", "4T", "--partition", status=1)
    assert "too many for a partition: it ends below 2 TiB" in said
    assert not (tmp_path / "x").exists()


def test_a_medium_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    create(path, 1 << 20, False)
    with path.open("r+b") as file:
        store = FileStore(DiskImage(file.fileno()))
        file.truncate(40_000)
        with pytest.raises(StoreFailed, match="shorter"):
            store.read(36_864, 8192)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    image, folder = tmp_path / "disk.img", tmp_path / "folder"
    run("create", image, "--size", "4M")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff")).touch()
    assert "is not UTF-8, and no name in an image" in run("import", image, folder, "/copy", status=1)
    assert "is not UTF-8, and no name in an image" in run("ls", image, os.fsdecode(b"/\xff"), status=1)
