"""A description's authority is what the kernel's RAM says after root has built that very system."""

from __future__ import annotations

import pytest

from deploy.authority import graph, holdings, paper
from deploy.authority.graph import Graph
from deploy.description import SYSTEMS, load
from kerneld.holdings import holdings as in_ram
from tests.unit.servers import root_board
from tests.unit.servers.root_board import Root, root

SHIPPED = sorted(path for path in SYSTEMS.rglob("*.toml"))


def board_graph(board: Root) -> Graph:
    return graph.of(holdings.read(in_ram(board.machine.ram)))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_description_and_built_system_have_the_same_graph(path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    system = load(path).system  # type: ignore[arg-type]
    on_paper = graph.of(paper.holdings(system))
    monkeypatch.setattr(root_board, "RAM_BYTES", system.ram)
    with root(*system.tasks, devices=system.devices, check=False) as board:
        built = board_graph(board)
    assert on_paper.nodes == built.nodes
    assert on_paper.edges() == built.edges()
    assert touched(on_paper) == touched(built)


def touched(found: Graph) -> set[tuple[str, str, int, str]]:
    return {
        (found.nodes[node], found.capabilities[each].object, found.capabilities[each].rights, why)
        for node, held in enumerate(found.touched)
        for each, why in held.items()
    }


def test_a_capability_that_root_did_not_write_down_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    system = load(SYSTEMS / "minimal.toml").system
    monkeypatch.setattr(root_board, "RAM_BYTES", system.ram)
    on_paper = graph.of(paper.holdings(system))
    with root(*system.tasks, devices=system.devices, check=False) as board:
        shell, serial = board.running("shell").objects, board.running("serial").objects
        shell.cnode.copy(900, board.authority.cnode, serial.cnode.cptr, dest_depth=shell.cnode_bits)
        more = board_graph(board).edges() - on_paper.edges()
    assert {(name, slot, each.object) for name, slot, each in more} == {("shell", 900, "serial.cnode")}


def test_of_a_device_s_memory_nothing_can_be_made_but_frames() -> None:
    found = graph.of(paper.holdings(load(SYSTEMS / "picture.toml").system))
    names = [each.object for each in found.capabilities]
    memory = found.capabilities[names.index("painter.device_memory")]
    assert memory.kind == "UNTYPED"
    made = found.implied[names.index("painter.device_memory")]
    assert [found.capabilities[each].kind for each in made] == ["FRAME"]
    others = [each for each in found.implied if names[each] != "painter.device_memory"]
    assert others
    assert all(len(found.implied[each]) == 4 for each in others)
