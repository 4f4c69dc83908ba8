"""Systems of real processes: how they start, end, fail, and answer."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from deploy.management import Refused
from hw.process_namespace import permitted
from tests.memory_rows import check_sums
from tests.system.conftest import RAM_BYTES, Boot, Booted, wait_gone
from tests.system.kernel_storm import children, name_of
from tests.system.supervisor import descendants, set_subreaper

BEHAVIOUR = "tests.system.images.behaviour"
FAMILY = "tests.system.images.family"


def family(boot: Boot, scene: str) -> Booted:
    return boot(scene, BEHAVIOUR, image=FAMILY)


def kernel_pid(system: Booted) -> int:
    status = system.ask("status")
    assert isinstance(status, Mapping)
    return int(status["pid"])


def wait_row(system: Booted, name: str) -> dict[str, Any]:
    """The row of `ps` of a task that is about to start."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    events = context.socket(zmq.SUB)
    try:
        events.subscribe(b"")
        events.connect(f"ipc://{system.folder / 'events'}")
        while True:
            rows = system.ask("ps")
            assert isinstance(rows, list)
            for row in rows:
                if row["name"] == name and row["pid"]:
                    return dict(row)
            assert events.poll(200) >= 0
    finally:
        context.destroy(linger=0)


def wait_at_rest(system: Booted) -> None:
    """Until the family of scene ``wait`` waits: the child has said so, and the parent hears of its death."""
    while wait_row(system, "root")["state"] != "BLOCKED_ON_RECEIVE" or "waiting" not in system.log("behaviour"):
        continue


def zygote_of(row: Mapping[str, Any]) -> int:
    """The process that has forked the task of this row."""
    return int(Path(f"/proc/{row['pid']}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_status_is_the_initial_tasks(boot: Boot, status: int) -> None:
    system = boot(f"return {status}")
    assert system.wait() == status
    assert system.folder.exists() == bool(status)


def test_an_exception_of_the_initial_task_is_in_its_log(boot: Boot) -> None:
    system = boot("raise")
    assert system.wait() == 1
    assert "LookupError: the initial task failed on purpose" in system.log("root")


def test_a_crash_of_the_initial_task_is_told_as_a_shell_does(boot: Boot) -> None:
    system = boot("crash")
    assert system.wait() == 128 + signal.SIGSEGV
    assert "logs" in system.output


def test_an_image_that_does_not_load_ends_the_system(boot: Boot) -> None:
    system = boot(image="tests.system.images.broken")
    assert system.wait() == 126
    assert "does not load, on purpose" in system.log("kerneld")


def test_the_initial_task_cannot_make_boot_info_writable(boot: Boot) -> None:
    system = boot("overwrite")
    assert system.wait() == 0, system.log("root")


@pytest.mark.parametrize("what", ["wait", "spin"])
def test_down_ends_a_system(boot: Boot, what: str) -> None:
    system = boot(what)
    wait_row(system, "root")
    assert system.ask("down") == {}
    assert system.wait() == 0
    assert not system.folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_system_in_order(boot: Boot, number: signal.Signals) -> None:
    system = boot("wait")
    wait_row(system, "root")
    system.signal(number)
    assert system.wait() == 0
    assert not system.folder.exists()


def test_all_die_with_the_monitor(boot: Boot) -> None:
    system = family(boot, "wait")
    wait_row(system, "behaviour")
    pids = system.pids()
    assert len(pids) >= (5 if permitted()[0] else 4)  # and one that waits to be a task, by now or not
    system.signal(signal.SIGKILL)
    assert system.wait() == -signal.SIGKILL
    assert wait_gone(*pids)


@pytest.mark.skipif(not permitted()[0], reason="this host permits no pid namespace")
def test_those_whom_nobody_has_listed_do_not_keep_a_pid_namespace(boot: Boot) -> None:
    """Of what our own waiting for ends rests on: whoever is left to us is reaped, or process 1 would never end."""
    before, system = descendants(), boot("wait")
    zygote = zygote_of(wait_row(system, "root"))
    (first,) = [pid for pid in children(zygote) if name_of(pid) == "sel4py-first"]
    set_subreaper(True)
    try:
        system.signal(signal.SIGKILL)
        system.wait()
        assert wait_gone(zygote, first)
        assert wait_gone(*descendants() - before)  # kernels
    finally:
        set_subreaper(False)


def test_a_killed_zygote_ends_the_system(boot: Boot) -> None:
    system = boot("wait")
    os.kill(zygote_of(wait_row(system, "root")), signal.SIGKILL)
    assert system.wait() == 71
    assert "the zygote has ended" in system.log("kerneld")


def test_a_folder_that_a_killed_system_left_is_taken_over(boot: Boot, tmp_path: Path) -> None:
    first = boot("wait")
    wait_row(first, "root")
    first.signal(signal.SIGKILL)
    first.wait()
    second = Booted(first.folder, ["tests.system.images.initial"], "return 0", RAM_BYTES)
    assert second.wait() == 0
    assert not first.folder.exists()


@pytest.mark.parametrize("scene", ["restart", "replace", "threads", "suspend", "clocks", "many", "hostile"])
def test_children(boot: Boot, scene: str) -> None:
    system = family(boot, scene)
    status = system.wait()
    assert status == 0, system.logs()


def test_kill_is_a_death_that_the_fault_handler_hears_of(boot: Boot) -> None:
    system = family(boot, "wait")
    row = wait_row(system, "behaviour")
    assert row["image"] == BEHAVIOUR
    assert row["state"] == "RUNNING"
    assert system.ask("kill", task="behaviour") == {"pid": row["pid"]}
    assert system.wait() == 42


def test_what_is_no_request_is_answered_with_what_would_be(boot: Boot) -> None:
    system = boot("wait")
    for op, fields, text in (
        ("nonsense", {}, "there are ps, description, kill"),
        ("kill", {}, "takes 'task'"),
        ("kill", {"task": 5}, "takes 'task'"),
        ("kill", {"task": "nobody"}, "there are root"),
        (
            "inspect",
            {"what": "everything"},
            "untyped, cspace, queues, vspaces, io_spaces, notices, contexts, holdings, memory, devices",
        ),
        ("image", {"file": "relative"}, "no absolute path"),
        ("image", {"file": "/nowhere/at/all"}, "No such file"),
    ):
        if op == "kill":
            wait_row(system, "root")
        with pytest.raises(Refused, match=text):
            system.ask(op, **fields)
    assert system.ask("down") == {}
    assert system.wait() == 0


def test_hostile_bytes_do_not_end_the_kernel(boot: Boot) -> None:
    system = boot("wait")
    kernel = kernel_pid(system)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    hostile = [b"", b"\xc1", b"\x91" * 60000, b"\xdf\xff\xff\xff\xff", msgpack.packb([1]), msgpack.packb({"op": 1})]
    hostile += [os.urandom(200) for _ in range(50)]
    try:
        socket = context.socket(zmq.DEALER)
        socket.connect(f"ipc://{system.folder / 'management'}")
        for data in hostile:
            socket.send_multipart([b"", data])
            assert socket.poll(10_000)
            assert msgpack.unpackb(socket.recv_multipart()[-1])["ok"] is False
    finally:
        context.destroy(linger=0)
    assert kernel_pid(system) == kernel
    system.ask("down")
    assert system.wait() == 0


def test_a_live_system_can_be_inspected(boot: Boot, tmp_path: Path) -> None:
    system = family(boot, "wait")
    wait_at_rest(system)
    assert system.ask("fsck") == []
    memory = system.ask("inspect", what="memory")
    assert isinstance(memory, Mapping)
    check_sums(memory)
    assert (memory["ram"], memory["lost"]) == (RAM_BYTES, 0)
    for what in ("untyped", "cspace", "queues"):
        assert system.ask("inspect", what=what)
    file = tmp_path / "image"
    system.ask("image", file=str(file))
    assert file.stat().st_size == RAM_BYTES
    assert file.stat().st_blocks * 512 < 8 << 20
    system.ask("down")
    assert system.wait() == 0


def test_an_idle_system_uses_no_processor_time(boot: Boot) -> None:
    system = family(boot, "wait")
    wait_at_rest(system)

    def used() -> int:
        status, rows = system.ask("status"), system.ask("ps")
        assert isinstance(status, Mapping)
        assert isinstance(rows, list)
        return int(status["processor_time_us"]) + sum(int(row["cpu_us"]) for row in rows)

    used()
    before = used()
    monitor = os.pidfd_open(system.process.pid)
    assert select.select([monitor], [], [], 1.0)[0] == []
    os.close(monitor)
    # The two questions cost some of it.
    assert used() - before < 10_000
    system.ask("down")
    assert system.wait() == 0


def test_why_says_what_a_task_waits_for(boot: Boot) -> None:
    system = family(boot, "wait")
    wait_row(system, "behaviour")
    assert "root" in str(system.ask("why", task="root"))
    system.ask("down")
    assert system.wait() == 0
