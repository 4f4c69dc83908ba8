"""Commands that look at the system, as root tells of it, and at what its tasks hold."""

from __future__ import annotations

from typing import Final

from apps.shell.command import command, number
from apps.shell.session import Session
from apps.shell.table import seconds, size, table
from libsel4py.interfaces.system import UntypedInfo

MAX_LOG_LINES: Final = 1000


@command("", "the tasks of this system")
def run_ps(session: Session, arguments: list[str]) -> None:
    """Time is the processor time that the task's threads have used since its first start."""
    rows = [
        (
            task.name,
            task.state,
            task.priority,
            task.threads,
            size(task.memory_bytes),
            task.restarts,
            seconds(task.consumed_us * 1000),
            task.image,
            task.strategy,
            task.last_cause,
        )
        for task in session.system.tasks()
    ]
    columns = ("task", "state", "priority", "threads", "memory", "restarts", "time", "image", "strategy", "last cause")
    session.write(table(columns, rows))


@command("[TASK]", "the capabilities that a task was given (this shell's, if none is named)")
def run_caps(session: Session, arguments: list[str]) -> None:
    task = arguments[0] if arguments else session.name
    rows = [
        (capability.slot, capability.type, capability.rights, capability.description)
        for capability in session.system.capabilities(task)
    ]
    session.write(table(("slot", "type", "rights", "what"), rows))


@command("", "memory: every untyped, how much of it is used, and by whom")
def run_mem(session: Session, arguments: list[str]) -> None:
    """To the byte: used, padding (what alignment leaves) and free are the size, and the sizes at the left are RAM."""
    memory = session.system.memory()
    columns = ("address", "bytes", "used", "padding", "free", "owner")
    session.write(table(columns, [("  " * each.depth + f"{each.address:#x}", *_parts([each])) for each in memory]))
    owned: dict[str, list[UntypedInfo]] = {}
    for each in memory:
        if each.owner and not each.is_device:
            owned.setdefault(each.owner.partition(": ")[0], []).append(each)
    session.write(table(("owner", "bytes"), [(name, sum(each.bytes for each in owned[name])) for name in owned]))
    total, used, padding, free, _ = _parts([each for each in memory if each.depth == 0 and not each.is_device])
    session.write(f"{total} bytes of RAM: {used} used, {padding} padding, {free} free\n")


def _parts(parts: list[UntypedInfo]) -> tuple[int, int, int, int, str]:
    """Bytes, used, padding, free, and the first one's owner."""
    total, used = sum(each.bytes for each in parts), sum(each.used_bytes for each in parts)
    padding = sum(each.padding_bytes for each in parts)
    return total, used, padding, total - used - padding, parts[0].owner if parts else ""


@command("", "interrupt lines and their drivers")
def run_irq(session: Session, arguments: list[str]) -> None:
    rows = [(each.line, each.device, each.task) for each in session.system.interrupts()]
    session.write(table(("line", "device", "task"), rows))


@command("[TASK] [LINES]", "the last events of a task, as root knows them")
def run_log(session: Session, arguments: list[str]) -> None:
    task = arguments[0] if arguments else session.name
    lines = number(arguments[1], 1, MAX_LOG_LINES, "the number of lines") if len(arguments) > 1 else 20
    session.write("".join(line + "\n" for line in session.system.task_log(task, lines)))


@command("TASK", "why a task does not run: whom it waits for, to the end of the chain")
def run_why(session: Session, arguments: list[str]) -> None:
    session.write("".join(line + "\n" for line in session.system.why(arguments[0])))


@command("TASK", "end a task; its restart policy decides what comes after")
def run_kill(session: Session, arguments: list[str]) -> None:
    """It also starts a task again that was given up because it ended too often."""
    session.system.kill(arguments[0])
    session.write(f"{arguments[0]} was ended\n")


@command("TASK", "ask a task to end, and end it if it does not; it stays down until start, restart or kill")
def run_stop(session: Session, arguments: list[str]) -> None:
    session.system.stop_task(arguments[0])
    session.write(f"{arguments[0]} is told to end\n")


@command("TASK", "start a task that is down")
def run_start(session: Session, arguments: list[str]) -> None:
    session.system.start_task(arguments[0])
    session.write(f"{arguments[0]} is to be started\n")


@command("TASK", "stop a task, and start it again")
def run_restart(session: Session, arguments: list[str]) -> None:
    session.system.restart_task(arguments[0])
    session.write(f"{arguments[0]} is told to begin anew\n")


@command(
    "TASK IMAGE", "stop a task, and start it again with another boot image; the former one, if that does not come up"
)
def run_update(session: Session, arguments: list[str]) -> None:
    session.system.update_task(arguments[0], arguments[1])
    session.write(f"{arguments[0]} is told to begin anew with {arguments[1]}\n")
