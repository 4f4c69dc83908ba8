"""What a component's author needs in a unit test: no kernel, no processes, the SDK's real code.

from libsel4py.testing import connect

def test_it_greets() -> None:
    with connect(Main) as greeter:
        assert greeter.greet("ada") == "hello ada"
"""

from libsel4py.testing.fake_kernel import FakeKernel
from libsel4py.testing.harness import (
    Events,
    TestSystem,
    connect,
    die_with,
    in_background,
    restart,
    run,
    send_signal,
    system,
    worker_threads,
)

__all__ = [
    "Events",
    "FakeKernel",
    "TestSystem",
    "connect",
    "die_with",
    "in_background",
    "restart",
    "run",
    "send_signal",
    "system",
    "worker_threads",
]
