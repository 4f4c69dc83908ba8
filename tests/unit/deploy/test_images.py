"""Saved images: sound, damaged, and no images at all."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli import main
from hw.ram import Ram
from kerneld import inspection, layout
from kerneld.boot import BootParameters, boot

RAM_BYTES = 1 << 24


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of a machine that was just booted."""
    path = tmp_path / "image"
    with path.open("w+b") as file:
        file.truncate(RAM_BYTES)
        pages = mmap.mmap(file.fileno(), RAM_BYTES)
        ram = Ram(pages, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
        boot(ram, BootParameters(RAM_BYTES, vspace_bits=20))
        pages.flush()
    return path


def test_a_sound_image_has_no_broken_invariant(image: Path) -> None:
    before = image.read_bytes()
    result = CliRunner().invoke(main, ["fsck", "--image", str(image)])
    assert (result.exit_code, result.stdout) == (0, "all invariants hold\n")
    assert image.read_bytes() == before


@pytest.mark.parametrize("what", list(inspection.VIEWS))
def test_every_view_of_an_image_is_told(image: Path, what: str) -> None:
    assert what in inspection.VIEWS
    result = CliRunner().invoke(main, ["inspect", what, "--image", str(image), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"]
    plain = CliRunner().invoke(main, ["inspect", what, "--image", str(image)])
    assert plain.exit_code == 0
    assert plain.stdout.strip()


def test_a_damaged_image_fails(image: Path) -> None:
    """All ones over everything behind the undo log: no record is left that could be sound."""
    with image.open("r+b") as file:
        file.seek(layout.UNDO_LOG + layout.UNDO_LOG_BYTES)
        file.write(b"\xff" * (1 << 20))
    result = CliRunner().invoke(main, ["fsck", "--image", str(image)])
    assert result.exit_code == 1
    assert "broken" in result.output or "damaged" in result.output


@pytest.mark.parametrize("size", [0, 5, 4096, (1 << 24) + 1])
def test_another_file_is_told_apart(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    result = CliRunner().invoke(main, ["inspect", "--image", str(path)])
    assert result.exit_code == 1
    assert "is no image of RAM; save one with" in result.stderr
