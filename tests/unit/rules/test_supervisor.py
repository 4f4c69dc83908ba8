"""What tests of systems wait by does so on any host."""

from __future__ import annotations

import signal
import subprocess

from tests.system.supervisor import wait_ended


def test_ends_are_waited_for_beside_a_thousand_other_descriptors(high_numbers: None) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    assert wait_ended({sleeper.pid}, seconds=0.01) == {sleeper.pid}
    assert wait_ended({sleeper.pid}, signal.SIGKILL) == set()
    sleeper.wait()
