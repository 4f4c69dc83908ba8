"""Peers as processes: they answer, are stopped while others have their turn, and end."""

import importlib.util
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from bench.ipc import peers
from bench.ipc.compiled import compile_program
from bench.ipc.counting import FEW, MANY, host_system_calls
from bench.ipc.peer import Peer, python
from bench.ipc.placement import Placement, best, place, processors
from bench.ipc.system import description
from deploy.description import load

SHORT = "time 0.001 32"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    compile_program("pingpong", folder)
    compile_program("count_syscalls", folder)
    compile_program("truncation", folder)
    return folder


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("kind", peers.KINDS, ids=lambda kind: kind.name)
def test_a_peer_answers_and_ends(kind, programs):
    if kind.missing():
        pytest.skip(kind.missing())
    with Peer(kind.command(programs)) as peer:
        peer.place(Placement.FREE)
        assert 0 < peer.order(SHORT)[0] < 1
        pids = peer._pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_page_is_truncated_under_its_callers_again_and_again(programs):
    with Peer([str(programs / "truncation"), *map(str, processors())]) as peer:
        for _ in range(3):
            seconds = peer.order("revoke 20")
            assert len(seconds) == 20
            assert all(0 < each < 10 for each in seconds)
        pids = peer._pids
    assert len(pids) == 4
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_record_goes_through_a_pipe():
    with Peer(python("stand", *peers.PIPE.arguments)) as peer:
        assert 0 < peer.order("object 0.001 record")[0] < 1


def test_a_peer_is_stopped_while_others_have_their_turn(programs):
    with Peer(peers.SPIN.command(programs)) as peer:
        peer.order(SHORT)
        os.waitid(os.P_PID, peer._process.pid, os.WSTOPPED | os.WNOWAIT)
        assert _state(peer._process.pid) == "T"


def test_a_peer_that_ends_by_itself_is_an_error(programs):
    with Peer(peers.SPIN.command(programs)) as peer, pytest.raises(RuntimeError, match="ended with status 2"):
        peer.order("nonsense")


@pytest.mark.parametrize("kind", [peers.SPIN, peers.PIPE, None])
def test_a_stopped_peer_ends_with_the_bench(kind, programs):
    """Who runs the bench may kill it; nobody would ever continue the peers."""
    source = (
        "import os, sys\n"
        "from bench.ipc.peer import Peer\n"
        "peer = Peer(sys.argv[1:])\n"
        "print(*peer._pids, flush=True)\n"
        "input()"
    )
    truncation = [str(programs / "truncation"), *map(str, processors())]
    command = [sys.executable, "-c", source, *(kind.command(programs) if kind else truncation)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bench:
        descriptors = [os.pidfd_open(int(pid)) for pid in bench.stdout.readline().split()]
        bench.kill()
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 30)[0]
        os.close(descriptor)


def test_pairs_over_pipe_count_each_client():
    with Peer(python("pipe_pairs", "2")) as peer:
        peer.place(Placement.ONE)
        counts = peer.order("load 0.1")
    assert len(counts) == 2
    assert all(count > 0 for count in counts)


def test_a_missing_peer_is_said_and_no_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peers.GRPC.missing() == "gRPC over a Unix socket: not installed: pip install -e '.[bench]'"
    assert peers.PIPE.missing() == ""


def test_the_best_placement_is_the_one_with_the_smallest_time():
    seconds = {Placement.ONE: 3.0, Placement.SPLIT: 1.0, Placement.FREE: 2.0}
    assert best(seconds.__getitem__) is Placement.SPLIT


@pytest.mark.parametrize("placement", Placement)
def test_a_placement_holds_for_client_and_server(placement):
    first, second = processors()
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as client,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server,
    ):
        place(placement, [client.pid], [server.pid])
        found = os.sched_getaffinity(client.pid), os.sched_getaffinity(server.pid)
        for process in (client, server):
            process.communicate(b"\n")
    expected = {
        Placement.ONE: ({first}, {first}),
        Placement.SPLIT: ({first}, {second}),
        Placement.FREE: ({first, second}, {first, second}),
    }
    assert found == expected[placement]


def test_host_system_calls_are_counted_one_by_one(programs):
    """A process that makes exactly so many system calls as it is told, and some more for being told."""
    source = "import os\nwhile line := input():\n for _ in range(int(line)): os.getppid()\n print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def calls(count):
            process.stdin.write(b"%d\n" % count)
            process.stdin.flush()
            process.stdout.readline()

        calls(1)  # behind this the interpreter has started
        try:
            counted = host_system_calls(programs / "count_syscalls", [process.pid], calls)
        except PermissionError as refused:
            pytest.skip(str(refused))
        finally:
            process.stdin.write(b"\n")
            process.stdin.close()
    assert counted == pytest.approx(1.0, abs=10 / (MANY - FEW))


def test_a_process_that_cannot_be_traced_is_said(programs):
    with pytest.raises(PermissionError, match="/proc/0/task"):
        host_system_calls(programs / "count_syscalls", [0], lambda count: None)


def test_the_system_is_described_without_a_mistake(tmp_path):
    file = tmp_path / "ipc.toml"
    file.write_text(description(clients=5, pairs=2))
    system = load(file).system
    assert {use.task for use in system.task("client1").uses} == {"server1", "hub"}
    assert {use.task for use in system.task("client2").uses} == {"hub"}
    assert {f"client{number}" for number in range(5)} < {use.name for use in system.task("driver").uses}
