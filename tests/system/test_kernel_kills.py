"""The kernel of the whole workstation is killed at random instants while all of it is at work.

Pages are fetched, lines typed, files written and synchronised, calls made through the kernel and by channel; a kernel
may be killed before it serves. Then: each call was served once, each byte was right, no task has died, RAM is sound.
"""

from __future__ import annotations

import pytest

from bench.restart.loaded import TOLD, Loaded
from deploy.management import Management
from servers.network.stack import is_built
from tests.system.kernel_storm import Storm
from tests.system.test_kernel_restart import wait_begun

pytestmark = pytest.mark.skipif(not is_built(), reason="the network server was built without its stack")
MEAN_SECONDS = 0.05  # from one kill to the next
ALL = ("kerneld", "root", "reincarnation", "zygote", "monitor")
MOST_WRITTEN = 4000  # characters


def storm(kills: int, seed: int) -> str:
    """Rage until so many kernels were killed; returns figures for people.

    What was on its way to or from the terminal may be lost or come twice, and so garble a line.
    """
    with Loaded(kills * MEAN_SECONDS * 1.5 + 5) as loaded:
        loaded.start()
        before = {row["name"]: row["pid"] for row in wait_begun(loaded.folder, loaded.description)}
        weather = Storm(loaded.process.pid, seed, MEAN_SECONDS)
        weather.rage(loaded.process, kills)
        told = loaded.told()
        loaded.stop()
        after = rows(loaded)
        again = {str(row["name"]): row for row in after if row["restarts"] or row["pid"] != before.get(row["name"])}
        assert not again, "\n".join([*map(str, again.values()), *(written(loaded, name) for name in (*again, *ALL))])
        assert loaded.wrong == []
        assert [told[name]["wrong"] for name in TOLD] == [0, 0, 0]
        status = loaded.status()
        assert {row["name"]: row["pid"] for row in after} == {
            name: pid for name, pid in before.items() if name not in TOLD
        }
        with Management(loaded.folder, 60) as management:
            assert management.request("fsck") == []
        restarts = int(status["kernel_restarts"])
        assert restarts > kills // 4  # a kernel that is ending already is killed again by a storm
        calls = {name: sum(told[name]["calls"]) for name in ("by_kernel", "by_channel")}
        return (
            f"{restarts} kernels killed; calls: {calls['by_kernel']} by the kernel, {calls['by_channel']} by channel; "
            f"{told['writer']['written'] >> 10} KiB synchronised, {loaded.pages} pages, "
            f"{loaded.resets} resets, {loaded.lines} lines, "
            f"{len(loaded.garbled)} of them garbled"
        )


def written(loaded: Loaded, name: str) -> str:
    """The end of what a task, or the system, has written."""
    file = loaded.folder / "logs" / f"{name}.log"
    return f"--- {name}\n{file.read_text(errors='replace')[-MOST_WRITTEN:] if file.exists() else ''}"


def rows(loaded: Loaded) -> list[dict[str, object]]:
    with Management(loaded.folder, 60) as management:
        found = management.request("ps")
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_the_workstation_goes_on_in_a_storm(capsys: pytest.CaptureFixture[str]) -> None:
    figures = storm(150, 0)
    with capsys.disabled():
        print(f"\n{figures}")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, 13))
def test_ten_thousand_kernels_are_killed(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    figures = storm(1000, seed)
    with capsys.disabled():
        print(f"\nseed {seed}: {figures}")
