"""Cards and their drivers as processes, with clients that send frames: through a switch, and to a user's network."""

from __future__ import annotations

from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

HEAD = """
[system]
name = "{name}"
paths = ["{root}"]

[machine]
ram = "512M"
"""

CARD = """
[machine.devices.net{number}]
type = "virtio-net"
port = {port}
irq = {irq}
{backend}

[task.driver{number}]
image = "servers.ethernet.main"
priority = 200
restart = "always"
pool = "256K"
slot_bits = 10
provides = {{ card = "libsel4py.interfaces.ethernet:Ethernet" }}
devices = {{ card = {{ device = "net{number}", io_space = "4K" }} }}

[task.user{number}]
image = "tests.system.images.frame_user"
pool = "8M"
slot_bits = 10
essential = {essential}
config = {{ scene = "{scene}" }}
uses = {{ card = {{ from = "driver{number}.card", rights = "rwgp" }} }}
"""


def card(number: int, scene: str, backend: str, *, essential: bool) -> str:
    return CARD.format(
        number=number,
        port=0x1000 + 0x200 * number,
        irq=5 + number,
        backend=backend,
        scene=scene,
        essential=str(essential).lower(),
    )


def up(sel4py: Supervisor, folder: Path, name: str, *cards: str) -> None:
    description = folder / f"{name}.toml"
    description.write_text(HEAD.format(name=name, root=ROOT) + "".join(cards))
    ended = sel4py.run("up", description)
    logs = sel4py.run("logs", "--system", name).output
    assert ended.status == 0, f"{ended}\n{logs}"


def test_frames_go_through_a_switch_as_they_were_sent(sel4py: Supervisor, tmp_path: Path) -> None:
    cards = [
        card(number, scene, f'backend = "switch"\nlink = "lan"\nmac = "02:00:00:00:00:0{number}"', essential=last)
        for number, scene, last in ((1, "echo", False), (2, "ask", True))
    ]
    up(sel4py, tmp_path, "switched", *cards)
    for lock in (tmp_path / "run").rglob("lan.lock"):  # a link's lock stays, whoever takes it next
        lock.unlink()


def test_the_users_network_answers(sel4py: Supervisor, tmp_path: Path) -> None:
    up(sel4py, tmp_path, "alone", card(1, "arp", 'backend = "user"', essential=True))
