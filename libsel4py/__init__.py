"""sel4py's SDK: what a component's author imports.

Names are loaded on first use (PEP 562), so that ``import libsel4py.abi`` loads nothing else; the kernel and the
machine, which share that table, rely on it. People who write allocators and pagers use `libsel4py.lowlevel`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libsel4py.capabilities import (
        TCB,
        Capability,
        Channel,
        CNode,
        DeathNotice,
        Domain,
        Endpoint,
        Frame,
        IOPort,
        IOPortControl,
        IOSpace,
        IOSpaceControl,
        IRQControl,
        IRQHandler,
        Notification,
        Reply,
        SchedContext,
        SchedControl,
        Untyped,
        VSpace,
        signal_many,
    )
    from libsel4py.context import DEFER, Caller, Component, ReplyToken, uses
    from libsel4py.dataspace import DataSpace, SharedMemory
    from libsel4py.errors import (
        AlignmentError,
        DeleteFirst,
        FailedLookup,
        IllegalOperation,
        InterfaceMismatch,
        InvalidArgument,
        InvalidCapability,
        InvalidMessage,
        KernelError,
        MessageTooLong,
        NotEnoughMemory,
        RangeError,
        RemoteError,
        RequestForgotten,
        RevokeFirst,
        ServerDied,
        ServiceError,
        Timeout,
        TruncatedMessage,
        UnknownMethod,
        VMFault,
        WrongAnswer,
    )
    from libsel4py.interface import (
        Interface,
        borrows,
        idempotent,
        local,
        long_result,
        method,
        oneway,
        raises,
        remembered,
        verify,
        with_timeout,
    )
    from libsel4py.journal import CorruptJournal, Journal, JournalFull
    from libsel4py.keeper import Kept
    from libsel4py.runtime import component, on_notification, set_thread_entry
    from libsel4py.signature import Word

_HOMES = {
    "capabilities": (
        "Capability Channel CNode DeathNotice Domain Endpoint Frame IOPort IOPortControl IOSpace IOSpaceControl "
        "IRQControl IRQHandler Notification Reply SchedContext SchedControl TCB Untyped VSpace signal_many"
    ),
    "runtime": "component on_notification set_thread_entry",
    "dataspace": "DataSpace SharedMemory",
    "context": "DEFER Caller Component ReplyToken uses",
    "errors": (
        "AlignmentError DeleteFirst FailedLookup IllegalOperation InterfaceMismatch InvalidArgument InvalidCapability "
        "InvalidMessage KernelError MessageTooLong NotEnoughMemory RangeError RemoteError RequestForgotten RevokeFirst "
        "ServerDied ServiceError Timeout TruncatedMessage UnknownMethod VMFault "
        "WrongAnswer"
    ),
    "interface": "Interface borrows idempotent local long_result method oneway raises remembered verify with_timeout",
    "journal": "CorruptJournal Journal JournalFull",
    "keeper": "Kept",
    "signature": "Word",
}
_HOME_OF = {name: f"libsel4py.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "DEFER",
    "TCB",
    "AlignmentError",
    "CNode",
    "Caller",
    "Capability",
    "Channel",
    "Component",
    "CorruptJournal",
    "DataSpace",
    "DeathNotice",
    "DeleteFirst",
    "Domain",
    "Endpoint",
    "FailedLookup",
    "Frame",
    "IOPort",
    "IOPortControl",
    "IOSpace",
    "IOSpaceControl",
    "IRQControl",
    "IRQHandler",
    "IllegalOperation",
    "Interface",
    "InterfaceMismatch",
    "InvalidArgument",
    "InvalidCapability",
    "InvalidMessage",
    "Journal",
    "JournalFull",
    "Kept",
    "KernelError",
    "MessageTooLong",
    "NotEnoughMemory",
    "Notification",
    "RangeError",
    "RemoteError",
    "Reply",
    "ReplyToken",
    "RequestForgotten",
    "RevokeFirst",
    "SchedContext",
    "SchedControl",
    "ServerDied",
    "ServiceError",
    "SharedMemory",
    "Timeout",
    "TruncatedMessage",
    "UnknownMethod",
    "Untyped",
    "VMFault",
    "VSpace",
    "Word",
    "WrongAnswer",
    "borrows",
    "component",
    "idempotent",
    "local",
    "long_result",
    "method",
    "on_notification",
    "oneway",
    "raises",
    "remembered",
    "set_thread_entry",
    "signal_many",
    "uses",
    "verify",
    "with_timeout",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"libsel4py has no {name!r}: its public names are in libsel4py.__all__")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
