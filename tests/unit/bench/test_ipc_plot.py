"""The plot of round trips against message size."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bench.ipc.run import Measure, measure_curves
from bench.ipc.sizes import FULL, QUICK, Sizes


@pytest.mark.parametrize("sizes", [FULL, QUICK], ids=["full", "quick"])
def test_all_contenders_take_turns_at_each_size_from_nothing_to_960_bytes(sizes: Sizes) -> None:
    asked: list[tuple[str, int]] = []

    def contender(name: str, slowest: float) -> Measure:
        def round_trip(size: int) -> float:
            asked.append((name, size))
            return slowest - 1e-9 * len(asked)

        return round_trip

    curves = measure_curves({"ours": contender("ours", 1.0), "theirs": contender("theirs", 2.0)}, sizes)
    assert list(curves) == ["ours", "theirs"]
    assert curves["ours"].keys() == curves["theirs"].keys()
    assert (min(curves["ours"]), max(curves["ours"])) == (0, 960)
    turns = 2 * sizes.curve_rounds
    assert asked[:turns] == [("ours", 0), ("theirs", 0)] * sizes.curve_rounds
    assert curves["theirs"][0] == 2.0 - 1e-9 * turns


def test_it_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="not installed: pip install -e '.[bench]'")
    from bench.ipc.plot import DOTS_PER_INCH, INCHES, draw

    file = tmp_path / "plot.png"
    draw({"sel4py": {0: 2e-7, 960: 4e-7}, "multiprocessing.Pipe": {0: 2e-5, 960: 3e-5}}, file)
    header = file.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">2I", header[16:]) == tuple(round(inches * DOTS_PER_INCH) for inches in INCHES)
