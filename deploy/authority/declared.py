"""What the interfaces of a system declare to carry: kinds of capabilities, at each endpoint, in calls and in answers.

The SDK's dispatch hands a method no capability that its interface does not declare, and answers with none. A closure
under this assumption (``--declared``) is of a system whose tasks keep to their interfaces; the interfaces of a module
belong together, since what one of them answers with may speak another. Rule: SDK interfaces are looked into; of a
description's own nothing is imported, so theirs are taken to carry everything.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from deploy.authority.graph import Graph
from libsel4py import capabilities
from libsel4py.abi import CapType
from libsel4py.dataspace import SharedMemory
from libsel4py.description import System
from libsel4py.interface import Interface
from libsel4py.signature import Value

_INTERFACES: Final = "libsel4py.interfaces."
ALL: Final = frozenset(each.name for each in CapType)
_KINDS: Final[dict[type, str]] = {
    found: kind.name
    for name in capabilities.__all__
    for kind in CapType
    if kind.name.replace("_", "") == name.upper() and isinstance(found := getattr(capabilities, name), type)
}
_KINDS[SharedMemory] = CapType.FRAME.name  # or a CNode that holds frames and nothing else


@dataclass(frozen=True, slots=True)
class Carried:
    """Kinds, as names of `abi.CapType`, that go along with calls, and with answers."""

    sent: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()

    def __or__(self, other: Carried) -> Carried:
        return Carried(self.sent | other.sent, self.answered | other.answered)


@dataclass(frozen=True, slots=True)
class Masks:
    """Capabilities of a graph, as bits, that can go along at each endpoint.

    ``elsewhere``: at endpoints made later. ``containers``: what is put into CNodes that are no task's own.
    """

    sent: Mapping[str, int]
    answered: Mapping[str, int]
    elsewhere: int
    containers: int

    def of(self, what: str, endpoint: str) -> int:
        """``what`` is "sent" or "answered"."""
        return (self.sent if what == "sent" else self.answered).get(endpoint, self.elsewhere)


EVERYTHING: Final = Masks({}, {}, -1, -1)


def is_known(interface: str) -> bool:
    """Whether ``module:Class`` is one of the SDK's, which can be looked into."""
    module, _, name = interface.partition(":")
    if not module.startswith(_INTERFACES) or importlib.util.find_spec(module) is None:
        return False
    return hasattr(importlib.import_module(module), name)


def carried(interface: str) -> Carried:
    """What the interfaces of the module of ``module:Class`` carry."""
    module = interface.partition(":")[0]
    if not module.startswith(_INTERFACES):
        return Carried(ALL, ALL)
    found = Carried()
    for each in vars(importlib.import_module(module)).values():
        if isinstance(each, type) and issubclass(each, Interface) and each.__module__ == module:
            methods = each.interface_methods.values()
            found |= Carried(
                frozenset().union(*(_kinds(method.capability) for method in methods)),
                frozenset().union(*(_kinds(method.result_capability) for method in methods)),
            )
    return found


def _kinds(value: Value | None) -> frozenset[str]:
    if value is None or value.capability is None:
        return frozenset()
    named = [_KINDS[each] for each in value.capability.__mro__ if each in _KINDS]
    return frozenset(named[:1]) or ALL


def masks(graph: Graph, system: System) -> Masks:
    """By the interfaces that the system's tasks provide."""

    def bits(kinds: Iterable[str]) -> int:
        wanted = frozenset(kinds)
        return sum(1 << index for index, each in enumerate(graph.capabilities) if each.kind in wanted)

    sent, answered, everywhere = {}, {}, Carried()
    for task in system.tasks:
        here = Carried()
        for provide in task.provides:
            here |= carried(provide.interface)
        sent[f"{task.name}.endpoint"], answered[f"{task.name}.endpoint"] = bits(here.sent), bits(here.answered)
        everywhere |= here
    return Masks(sent, answered, bits(everywhere.sent | everywhere.answered), bits({CapType.FRAME.name}))
