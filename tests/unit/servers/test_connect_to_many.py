"""A stream leads to one host: an address of many, or of none, is refused, and nothing is sent there."""

from __future__ import annotations

import pytest

from libsel4py.interfaces.network import Unreachable
from servers.network.stack import is_built
from tests.unit.servers.stack_pair import ADDRESSES
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.wire import SYN, Wire, run_alone

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)


@pytest.mark.parametrize("host", ["255.255.255.255", "10.0.0.255", "224.0.0.1", "0.0.0.0", "ff02::1", "::"])
def test_an_address_of_many_is_refused(host: str) -> None:
    def work(wire: Wire) -> None:
        sock = wire.stack.stream(6 if ":" in host else 4)
        with pytest.raises(Unreachable):
            sock.connect(host, PORT)
        assert wire.give() == []
        if ":" not in host:
            sock.connect(ADDRESSES[1], PORT)
            assert [each.flags for each in wire.give()] == [SYN]

    run_alone(work)
