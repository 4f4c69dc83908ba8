"""The names of the sandbox's layers, and the switch that leaves some out."""

import pytest

from hw.layers import VARIABLE, Layer, left_out


def test_names_and_layers() -> None:
    assert Layer.named(["seccomp", "limits"]) == Layer.SECCOMP | Layer.LIMITS
    assert (Layer.SECCOMP | Layer.LIMITS).names() == ("seccomp", "limits")
    assert Layer.named(["all"]).names() == tuple(str(each.name).lower() for each in Layer)
    with pytest.raises(ValueError, match="is called 'seccom'; there are seccomp, landlock"):
        Layer.named(["seccom"])


def test_the_switch() -> None:
    assert left_out({}) == Layer(0)
    assert left_out({VARIABLE: " landlock, dumpable"}) == Layer.LANDLOCK | Layer.DUMPABLE
