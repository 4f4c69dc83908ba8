"""Write the C header of the task-kernel interface from `libsel4py.abi`: ``python -m hw.header FILE``.

The build runs it, so C never has a number of its own. Static asserts in the header prove that the C structures
lie where the table says.
"""

from __future__ import annotations

import sys
from enum import IntEnum, IntFlag
from pathlib import Path

from libsel4py import abi

CONSTANTS = [
    "TRAP_FRAME_BITS",
    "IPC_TAG",
    "IPC_MESSAGE",
    "IPC_USER_DATA",
    "IPC_CAPS_OR_BADGES",
    "IPC_RECEIVE_CNODE",
    "IPC_RECEIVE_INDEX",
    "IPC_RECEIVE_DEPTH",
    "IPC_BUFFER_BYTES",
    "RING_ENTRIES",
    "TASK_LINE",
    "SUBMIT_PRODUCED",
    "COMPLETE_CONSUMED",
    "TASK_WAITING",
    "DEATH_WORD",
    "KERNEL_LINE",
    "SUBMIT_CONSUMED",
    "COMPLETE_PRODUCED",
    "KERNEL_WATCHING",
    "RECEIVE_HINT",
    "MAPPINGS_TOLD",
    "SUBMIT_RING",
    "COMPLETE_RING",
    "SUBMIT_TAILS",
    "MESSAGE_REGISTERS",
    "MESSAGE_MAX_LENGTH",
    "MESSAGE_MAX_EXTRA_CAPS",
    "TAIL_MESSAGE_WORDS",
    "TAIL_CAP_SLOTS",
    "CONTROL_BYTES",
    "CONTROL_WORD_COUNT",
    "CONTROL_CLOSED_TOGETHER",
    "CONTROL_THREADS",
    "CHANNEL_BYTES",
    "CHANNEL_REQUEST",
    "CHANNEL_REPLY",
    "CHANNEL_SIGNALS",
    "CHANNEL_STATE",
    "CHANNEL_SLEEPERS",
    "CHANNEL_REQUEST_WORDS",
    "CHANNEL_REPLY_WORDS",
    "CHANNEL_LISTENER_SHIFT",
    "CHANNEL_LISTENER_MAX",
    "CHANNEL_SEQUENCE_SHIFT",
    "CHANNEL_SLEEPING",
    "CHANNEL_WAITER",
    "CHANNEL_VALID",
    "CHANNELS_PER_TARGET",
    "CHANNELS_PER_THREAD",
    "MAPPING_BASE",
    "MAPPING_END",
    "VALUE_KIND_BITS",
    "ACCESS_WIDTH_SHIFT",
]
ENUMS: tuple[type[IntEnum], ...] = (
    abi.Syscall,
    abi.Status,
    abi.Error,
    abi.FaultLabel,
    abi.FaultAnswer,
    abi.ControlOp,
    abi.ChannelRole,
    abi.ChannelState,
    abi.ChannelOp,
    abi.ValueKind,
    abi.Served,
)
FLAGS: tuple[tuple[str, type[IntFlag]], ...] = (
    ("ENTRY", abi.EntryFlags),
    ("MAP", abi.MapFlags),
    ("RIGHTS", abi.Rights),
    ("FAULT", abi.PageFault),
)
OP_OVERRUN = -(1 << 31)  # hw.ring.OVERRUN; a test compares them

STRUCTURES = f"""
struct sel4py_entry {{
    int32_t op;
    uint32_t flags;
    uint64_t cptr;
    uint64_t info;
    uint64_t mr[{abi.MESSAGE_REGISTERS}];
    uint64_t tag;
}};

struct sel4py_tail {{
    uint64_t reply;
    uint64_t dest;
    uint64_t mr[{abi.TAIL_MESSAGE_WORDS}];
    uint64_t caps[{abi.TAIL_CAP_SLOTS}];
}};

struct sel4py_completion {{
    int32_t status;
    uint32_t flags;
    uint64_t badge;
    uint64_t info;
    uint64_t mr[{abi.MESSAGE_REGISTERS}];
    uint64_t tag;
}};

struct sel4py_line {{
    uint32_t word; /* posted, or done */
    uint32_t kind; /* op, or status */
    uint64_t info;
    uint64_t mr[{abi.MESSAGE_REGISTERS}];
    uint32_t cpu;
    uint32_t unused[3];
}};

struct sel4py_control {{
    uint32_t op;
    uint32_t sequence;
    uint32_t thread;
    uint32_t image;
    uint64_t words[{abi.CONTROL_WORD_COUNT}];
}};
"""

OFFSETS = (
    ("entry", "op", abi.ENTRY_OP),
    ("entry", "flags", abi.ENTRY_FLAGS),
    ("entry", "cptr", abi.ENTRY_CPTR),
    ("entry", "info", abi.ENTRY_INFO),
    ("entry", "mr", abi.ENTRY_MR),
    ("entry", "tag", abi.ENTRY_TAG),
    ("tail", "reply", abi.TAIL_REPLY),
    ("tail", "dest", abi.TAIL_DEST),
    ("tail", "mr", abi.TAIL_MR),
    ("tail", "caps", abi.TAIL_CAPS),
    ("completion", "status", abi.COMPLETION_STATUS),
    ("completion", "flags", abi.COMPLETION_FLAGS),
    ("completion", "badge", abi.COMPLETION_BADGE),
    ("completion", "info", abi.COMPLETION_INFO),
    ("completion", "mr", abi.COMPLETION_MR),
    ("completion", "tag", abi.COMPLETION_TAG),
    ("line", "word", abi.CHANNEL_POSTED - abi.CHANNEL_REQUEST),
    ("line", "kind", abi.CHANNEL_OP - abi.CHANNEL_REQUEST),
    ("line", "info", abi.CHANNEL_INFO),
    ("line", "mr", abi.CHANNEL_MR),
    ("line", "cpu", abi.CHANNEL_CPU),
    ("control", "op", abi.CONTROL_OP),
    ("control", "sequence", abi.CONTROL_SEQUENCE),
    ("control", "thread", abi.CONTROL_THREAD),
    ("control", "image", abi.CONTROL_IMAGE),
    ("control", "words", abi.CONTROL_WORDS),
)


def header() -> str:
    """The whole header as text."""
    lines = [
        "/* Made by hw/header.py from libsel4py/abi.py. Do not edit. */",
        "#ifndef SEL4PY_ABI_H",
        "#define SEL4PY_ABI_H",
        "",
    ]
    lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
    lines += [f"#define SEL4PY_{name} {getattr(abi, name):#x}u" for name in CONSTANTS]
    lines += [
        f"#define SEL4PY_TRAP_FRAME_BYTES {1 << abi.TRAP_FRAME_BITS:#x}u",
        f"#define SEL4PY_OP_OVERRUN ({OP_OVERRUN + 1} - 1)",
    ]
    for prefix, flags in FLAGS:
        lines += [f"#define SEL4PY_{prefix}_{flag.name} {flag.value}u" for flag in flags]
    for enum in ENUMS:
        lines += [f"#define SEL4PY_{enum.__name__.upper()}_{member.name} ({member.value})" for member in enum]
    lines.append(STRUCTURES)
    lines += [
        f'_Static_assert(offsetof(struct sel4py_{struct}, {field}) == {offset}, "{struct}.{field}");'
        for struct, field, offset in OFFSETS
    ]
    for struct in ("entry", "tail", "completion", "line"):
        lines.append(f'_Static_assert(sizeof(struct sel4py_{struct}) == {abi.RING_ENTRY_BYTES}, "{struct}");')
    lines.append(f'_Static_assert(sizeof(struct sel4py_control) == {abi.CONTROL_BYTES}, "control");')
    lines += ["", "#endif", ""]
    return "\n".join(lines)


def main() -> None:
    Path(sys.argv[1]).write_text(header())


if __name__ == "__main__":
    main()
