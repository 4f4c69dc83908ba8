"""The kernel is killed: another one takes its place, and tasks notice a delay at the most."""

from __future__ import annotations

import os
import re
import select
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.description import SYSTEMS, load
from deploy.management import Management
from kerneld import layout
from kerneld.records import KernelRecord
from tests.system.conftest import Boot, Booted
from tests.system.images import family, mapper
from tests.system.images.adding import COUNTED
from tests.system.kernel_storm import SPARE, Storm
from tests.system.supervisor import PROMPT, ROOT, Supervisor, Terminal
from tests.system.test_channels import SERVER, SEVERED
from tests.system.test_channels import client as caller
from tests.system.test_littlefs import DESCRIPTION as FILES
from tests.system.tree import Tree

KILLS = 5
MANY = 1_000_000
MEAN_SECONDS = 0.05  # from a kernel's beginning to its end


class Kernel:
    """The kernel of a running system, whichever process that is."""

    def __init__(self, sel4py: Supervisor, name: str = "workstation") -> None:
        self._folder = sel4py.folder / name

    def status(self) -> Mapping[str, object]:
        with Management(self._folder, 60) as management:
            status = management.request("status")
        assert isinstance(status, Mapping)
        return status

    def kill(self) -> None:
        """Kill it, and return when the next one serves."""
        killed = int(str(self.status()["pid"]))
        pidfd = os.pidfd_open(killed)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        while self.status()["pid"] == killed:
            continue

    def sound(self) -> bool:
        with Management(self._folder, 60) as management:
            return management.request("fsck") == []


@pytest.fixture
def terminal(sel4py: Supervisor) -> Iterator[Terminal]:
    terminal = sel4py.terminal("up", "workstation")
    terminal.until(PROMPT)
    yield terminal
    terminal.type(b"exit 6\r")
    assert terminal.wait() == 6


def pids(sel4py: Supervisor) -> dict[tuple[object, object], object]:
    return {(row["name"], row["thread"]): row["pid"] for row in sel4py.rows("ps")}


def wait_begun(folder: Path, description: Path) -> list[dict[str, object]]:
    """The rows of `ps` once all threads of the description have begun, and ping, which ends by itself, has ended."""
    lasting = Counter({task.name: 1 + task.threads for task in load(description).system.tasks}) + Counter(["root"])
    del lasting["ping"]
    with Management(folder) as management:
        while True:
            rows = management.request("ps")
            assert isinstance(rows, list)
            if Counter(str(row["name"]).partition(".")[0] for row in rows if row["pid"]) == lasting:
                return rows


def test_an_idle_system_does_not_notice(sel4py: Supervisor, terminal: Terminal) -> None:
    os.kill(int(str(pids(sel4py)["pong", 0])), signal.SIGKILL)
    terminal.type(b"call pong ping 0\r")
    terminal.until(b"\n0\r")
    terminal.until(PROMPT)
    wait_begun(sel4py.folder / "workstation", SYSTEMS / "workstation.toml")
    before = pids(sel4py)
    kernel = Kernel(sel4py)
    assert "kernel restarts" not in sel4py.ok("ps")
    for number in range(1, KILLS + 1):
        kernel.kill()
        status = kernel.status()
        assert status["kernel_restarts"] == number
        assert kernel.sound()
        terminal.type(f"call pong ping {number}\r".encode())
        terminal.until(f"\n{number}\r".encode())
        terminal.until(PROMPT)
    assert pids(sel4py) == before
    (pong,) = [row for row in sel4py.rows("ps") if row["name"] == "pong"]
    assert (pong["restarts"], pong["last_cause"], pong["strategy"]) == (1, "killed by SIGKILL", "one_for_one")
    assert f"kernel restarts: {KILLS}; " in sel4py.ok("ps")


def test_a_disk_and_a_terminal_are_what_they_were(sel4py: Supervisor) -> None:
    """Who has the console open goes on with it; and what the host tells one opening of an image once, another knows."""
    sel4py.ok("up", "--detach", "workstation")
    folder, kernel = sel4py.folder / "workstation", Kernel(sel4py)
    wait_begun(folder, SYSTEMS / "workstation.toml")
    console = os.readlink(folder / "console")
    for _ in range(2):
        kernel.kill()
        assert os.readlink(folder / "console") == console
        ways = ways_opened(int(str(kernel.status()["pid"])), "/workstation.img")
        assert ways is None or len(ways) == 2, "one opening to write, and the witness, which is to read"
    sel4py.ok("down")


def ways_opened(pid: int, name: str) -> set[str] | None:
    """How the process has a file open whose name ends so: the flags. None where Linux shows that to root alone."""
    folder = Path(f"/proc/{pid}")
    try:
        opened = [each.name for each in (folder / "fd").iterdir() if os.readlink(each).endswith(name)]
    except PermissionError:
        return None
    return {(folder / "fdinfo" / each).read_text().splitlines()[1] for each in opened}


COUNTING = """
[system]
name = "counting"
paths = ["{root}"]

[machine]
ram = "512M"

[task.server]
image = "tests.system.images.counted"
provides = {{ counted = "tests.system.images.counted:Counted" }}

# Calls by channel alone: a server that has to answer one call by the kernel waits for it.
[task.apart]
image = "tests.system.images.counted"
provides = {{ counted = "tests.system.images.counted:Counted" }}
"""
CLIENT = """
[task.{name}]
image = "tests.system.images.adding"
essential = {last}
config = {{ seconds = {seconds}, last = {last} }}
uses = {{ service = {{ from = "{server}.counted", channel = "{channel}" }} }}
grants = ["system-information"]
"""


def client(name: str, channel: str, seconds: float, last: bool = False) -> str:
    """The ``last`` one goes on until all others have ended, and the system ends with it."""
    server = "apart" if channel == "always" else "server"
    return CLIENT.format(name=name, channel=channel, seconds=seconds, last=str(last).lower(), server=server)


def count_in_storm(sel4py: Supervisor, folder: Path, seconds: float, seed: int) -> Storm:
    """Clients call by the kernel and by channels while it is killed; returns the storm."""
    description = folder / "counting.toml"
    clients = client("slow", "never", seconds) + client("other", "never", seconds) + client("fast", "always", seconds)
    last = client("last", "never", seconds, last=True)
    description.write_text(COUNTING.format(root=ROOT) + clients + last)
    process = sel4py.start("up", description, "--kernel-deaths", MANY)
    storm = Storm(process.pid, seed, MEAN_SECONDS)
    storm.rage(process, MANY)
    logs = sel4py.run("logs", "--system", "counting").output
    assert process.wait() == COUNTED, logs
    for name, by_channel in (("slow", False), ("other", False), ("fast", True), ("last", False)):
        found = re.search(rf"^ *{name} .*?(\d+) calls, (\d+) by channel", logs, re.MULTILINE)
        assert found is not None, logs
        assert (int(found[2]) > 0) == by_channel, logs
    return storm


def test_each_call_is_served_once(sel4py: Supervisor, tmp_path: Path) -> None:
    """By the kernel and by channel."""
    assert count_in_storm(sel4py, tmp_path, 3.0, 1).kills > KILLS


@pytest.mark.long
@pytest.mark.timeout(600)
def test_each_call_of_a_long_storm_is_served_once(sel4py: Supervisor, tmp_path: Path) -> None:
    assert count_in_storm(sel4py, tmp_path, 120.0, 2).kills > 500


# What frames, processes, threads, clocks and faults go through elsewhere without a storm: initial task, scene, child.
SCENES = [
    *(("mapping", scene, "mapped") for scene in ("often", "share", "revoke")),
    *(("family", scene, "behaviour") for scene in ("restart", "replace", "threads", "suspend", "clocks", "many")),
    *(("mapper", scene.__name__, "toucher") for scene in mapper.SCENES if scene.__name__ != "many"),
]


def weather(boot: Boot, scene: tuple[str, str, str], seed: int, most: int) -> int:
    """Runs a scene in a storm of at most so many kills; returns how many there were."""
    images = "tests.system.images."
    system = boot(scene[1], images + scene[2], image=images + scene[0], ram_bytes=1 << 30, kernel_deaths=MANY)
    storm = Storm(system.process.pid, seed, MEAN_SECONDS)
    storm.rage(system.process, most)
    assert system.wait() == 0, system.logs()
    return storm.kills


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene[0]}-{scene[1]}")
def test_scene_in_a_storm(boot: Boot, scene: tuple[str, str, str]) -> None:
    weather(boot, scene, 3, 40)


def test_a_process_that_has_had_many_threads_lives_on(boot: Boot) -> None:
    """They leave nothing behind for the monitor to keep, nor for a kernel that is started again to tell the keeper."""
    system = boot("succession", "tests.system.images.behaviour", image="tests.system.images.family")
    system.ask("status")
    before = descriptors(system.process.pid)
    while family.SUCCEEDED not in system.log("root"):
        assert system.process.poll() is None, system.logs()
    # The store forgets a moment later, and the last thread's end is seen when it is started again.
    assert descriptors(system.process.pid) < before + family.SUCCESSION // 2
    (row,) = [row for row in rows(system) if row["name"] == "behaviour" and row["thread"] == 0]
    killed = int(str(status(system)["pid"]))
    os.kill(killed, signal.SIGKILL)
    while status(system)["pid"] == killed:
        continue
    assert row["pid"] in {each["pid"] for each in rows(system)}
    assert "is ended" not in system.log("kerneld")
    os.kill(int(str(row["pid"])), signal.SIGKILL)
    assert system.wait() == 42, system.logs()


def rows(system: Booted) -> list[dict[str, object]]:
    found = system.ask("ps")
    assert isinstance(found, list)
    return found


def status(system: Booted) -> dict[str, object]:
    found = system.ask("status")
    assert isinstance(found, dict)
    return found


def descriptors(pid: int) -> int:
    """None to be seen where Linux shows the descriptors of who may not be dumped to root alone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


def test_files_on_a_disk_conform_in_a_storm(sel4py: Supervisor, tmp_path: Path) -> None:
    """Client, file system, driver, DMA and device: the conformance suite of file systems."""
    description = tmp_path / "littlefs.toml"
    description.write_text(FILES.format(root=ROOT, partitions=""))
    assert sel4py.run("disk", "create", tmp_path / "disk.img", "--size", "32M").status == 0
    process = sel4py.start("up", description, "--kernel-deaths", MANY)
    storm = Storm(process.pid, 5, 2 * MEAN_SECONDS)
    storm.rage(process, 100)
    assert process.wait() == 0, sel4py.run("logs", "--system", "littlefs").output
    assert storm.kills > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(40))
def test_all_scenes_in_many_storms(boot: Boot, seed: int) -> None:
    assert sum(weather(boot, scene, seed, 200) for scene in SCENES) > len(SCENES)


def test_a_kernel_that_dies_again_and_again_ends_the_system(boot: Boot) -> None:
    system = boot("wait", kernel_deaths=3)
    storm = Storm(system.process.pid, 4, 0.001)
    storm.rage(system.process, MANY)
    assert system.wait() == 72
    assert re.search("the kernel has died 4 times within 10 s|kernels one after the other", system.output)


def test_a_spare_that_was_killed_does_not_take_over(boot: Boot) -> None:
    system = boot("wait", kernel_deaths=3)
    storm = Storm(system.process.pid, 0, 1)
    for number in (1, 2, 3):
        while (spare := storm.kernel(SPARE)) is None:
            system.ask("status")
        pidfd = os.pidfd_open(spare)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)
        kernel = storm.kernel()
        assert kernel is not None
        os.kill(kernel, signal.SIGKILL)
        while storm.kernel() in (kernel, None):
            system.ask("status")
        status = system.ask("status")
        assert isinstance(status, dict)
        assert status["kernel_restarts"] == number


def test_a_kernel_does_not_go_on_with_records_that_cannot_be(boot: Boot) -> None:
    """The last kernel left RAM unsound: the next one says what is wrong, and ends the system."""
    if os.getuid() != 0:
        pytest.skip("Linux lets nobody but root write the RAM of a running system, as this test does")
    system = boot("wait")
    system.ask("status")
    pid = Storm(system.process.pid, 0, 1).kernel()
    assert pid is not None
    with open(f"/proc/{system.process.pid}/fd/{ram_descriptor(system.process.pid)}", "r+b", buffering=0) as ram:
        os.pwrite(ram.fileno(), b"\xff" * 8, layout.KERNEL_RECORD + KernelRecord.IRQ_STATES)
    os.kill(pid, signal.SIGKILL)
    assert system.wait() == 73
    assert "invariants do not hold" in system.log("kerneld")


def ram_descriptor(pid: int) -> str:
    folder = Path(f"/proc/{pid}/fd")
    return next(each for each in os.listdir(folder) if "sel4py-ram" in os.readlink(folder / each))


GONE = "        ends: dict[Thread, list[int]] = {}\n"  # what it begins with
DIES_FIRST = """        if not os.path.exists("{mark}"):
            open("{mark}", "w").close()
            os.kill(os.getpid(), 9)
"""


def test_who_waits_by_a_channel_that_a_killed_kernel_was_about_to_take_away_is_told(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    """The next one finds the page where it was, and nobody's."""
    tree, mark = Tree(tmp_path / "tree", sel4py, "tests"), tmp_path / "killed"
    tree.change("kerneld/host/channels.py", GONE, DIES_FIRST.format(mark=mark) + GONE)
    description = tmp_path / "channels.toml"
    description.write_text(SERVER.format(root=tmp_path / "tree") + caller("severed", SEVERED))
    ended = tree.run("up", str(description))
    assert ended.returncode == 0, (ended, sel4py.run("logs", "--system", "channels").output)
    assert mark.exists()


def test_the_kernel_is_upgraded_while_tasks_go_on(sel4py: Supervisor, tmp_path: Path) -> None:
    """Newer code takes over; code that does not load, or whose checks fail, does not, and the code before goes on."""
    tree = Tree(tmp_path / "tree", sel4py)
    assert tree.run("up", "--detach", "minimal").returncode == 0
    try:
        wait_begun(sel4py.folder / "minimal", SYSTEMS / "minimal.toml")
        before = pids(sel4py)
        kernel = Kernel(sel4py, "minimal")
        tree.change("kerneld/host/operations.py", '"kernel_restarts":', '"newer": 1, "kernel_restarts":')
        upgraded = tree.run("upgrade")
        assert upgraded.returncode == 0, upgraded
        assert kernel.status()["newer"] == 1

        tree.change("kerneld/host/operations.py", '"newer": 1', '"newer": 2')
        tree.change("kerneld/layout.py", "VERSION: Final = ", "VERSION: Final = 1000 + ")
        refused = tree.run("upgrade")
        assert refused.returncode == 1, refused
        assert "the old goes on" in refused.stderr
        assert kernel.status()["newer"] == 1

        tree.change("kerneld/layout.py", "VERSION: Final", "this is no Python; VERSION: Final")
        assert tree.run("upgrade").returncode == 1
        status = kernel.status()
        assert (status["newer"], status["upgrades"], status["failed_upgrades"]) == (1, 1, 2)
        assert kernel.sound()
        assert pids(sel4py) == before
    finally:
        assert tree.run("down").returncode == 0
