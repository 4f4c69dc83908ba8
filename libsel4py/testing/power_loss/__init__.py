"""What a file system holds when the power goes: every state that its medium can be left in, and what each must have.

A volume works on a `MemoryStore` that keeps a log of its writes and flushes. `media` rebuilds the medium from the log
as it can stand when the power goes; `Work` does operations, and says of each such state which trees it may show.
"""

from libsel4py.testing.power_loss.cuts import Cut, Epoch, Kind, cuts, epochs
from libsel4py.testing.power_loss.survival import Found, Lost, Survival
from libsel4py.testing.power_loss.work import Operation, Tree, Work, random_work, read_tree, scripted_work

__all__ = [
    "Cut",
    "Epoch",
    "Found",
    "Kind",
    "Lost",
    "Operation",
    "Survival",
    "Tree",
    "Work",
    "cuts",
    "epochs",
    "random_work",
    "read_tree",
    "scripted_work",
]
