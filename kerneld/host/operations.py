"""What the management socket can be asked for.

Each operation takes the system and the request, and returns plain values, or raises Refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hw.clock import host_microseconds
from hw.devices.framebuffer import Framebuffer
from kerneld import explain, inspection, invariants, scheduler
from kerneld.host.device_view import devices
from kerneld.host.image import FLAGS, PART, save_image
from kerneld.host.linux import processor_time_us
from kerneld.records import CapType, SchedContext, Tcb, ThreadState
from kerneld.survey import survey

if TYPE_CHECKING:
    from kerneld.host.process import Process, Thread
    from kerneld.host.system import System

Request = Mapping[str, object]


class Refused(Exception):
    """The request cannot be done; the text says why, and what could."""


def status(system: System, request: Request) -> object:
    taken = system.entry.statistics()
    return {
        "name": system.options.name,
        "state": "up" if system.is_up else "starting",
        "pid": os.getpid(),
        "uptime_us": host_microseconds() - system.started_us,
        "ram_bytes": system.options.machine.ram_bytes,
        "tasks": sum(1 for _ in system.processes),
        "system_calls": taken.taken,
        "turns": taken.turns,
        "doorbells": taken.doorbells,
        "frames_with_own_memory": len(system.mappings),
        "made_ahead_for_frames": system.mappings.stocked,
        "made_ahead_untold": system.mappings.stocked_untold,
        "processor_time_us": processor_time_us(os.getpid()),
        "kernel_restarts": system.options.restarts,
        "without_layers": list(system.options.without),
        "recovery_us": system.recovery_us,
        "capabilities": system.capabilities,
        "upgrades": system.options.upgrades,
        "failed_upgrades": system.options.failed_upgrades,
    }


def ps(system: System, request: Request) -> object:
    system.processes.name_anew()
    rows = [_row(system, process, thread) for process in system.processes for thread in process.threads]
    return sorted(rows, key=lambda row: (str(row["name"]), int(str(row["thread"]))))


def _row(system: System, process: Process, thread: Thread) -> dict[str, object]:
    tcb = thread.tcb
    row: dict[str, object] = {
        "name": _thread_name(process, thread),
        "thread": thread.number,
        "pid": process.pid,
        "state": "ENDING",
        "priority": 0,
        "budget": "",
        "image": process.image,
        "blocked_on": None,
        "cpu_us": processor_time_us(process.pid) if process.pid else 0,
        "restarts": process.life - 1,
        "last_cause": process.former,
    }
    if not thread.orphan:
        context = tcb.sched_context
        out_of_budget = context is not None and context.postponed and tcb.state in scheduler.RUNNABLE
        held = "OUT_OF_BUDGET" if out_of_budget else "HELD"
        row["state"] = held if thread.held else ThreadState(tcb.state).name
        row["budget"] = _budget(context)
        row["priority"] = tcb.priority
        row["blocked_on"] = inspection.blocked_on(tcb)
    return row


def _budget(context: SchedContext | None) -> str:
    """What a thread is held to, in milliseconds; nothing of round robin, and of whoever runs on nobody's time."""
    if context is None or not context.period:
        return ""
    return f"{context.budget / 1000:g}/{context.period / 1000:g} ms"


def _thread_name(process: Process, thread: Thread) -> str:
    """The task's name for its first thread; its own for a further one, which the task's has in front of it."""
    first = thread is process.threads[0] or thread.orphan
    return process.name if first else thread.tcb.name or process.name


def description(system: System, request: Request) -> object:
    """What the initial task was handed, as it stands: the kernel does not read it."""
    return system.options.description


def kill(system: System, request: Request) -> object:
    name = _text(request, "task")
    tcb = _running(system, name)
    if tcb is None:
        reason = f"{name} has ended already" if _known(system).get(name) else f"no task is called {name!r}"
        raise Refused(f"{reason}; there are {_list(process.name for process in system.processes)}")
    pid = system.processes.threads[tcb.address].process.pid
    system.processes.kill_task(tcb.address)
    return {"pid": pid}


def inspect(system: System, request: Request) -> object:
    what = _text(request, "what")
    if what == "devices":
        return devices(system.machine, system.options.machine.devices)
    if what == "kernel":
        return [status(system, request)]
    if what not in inspection.VIEWS:
        views = ", ".join((*inspection.VIEWS, "devices", "kernel"))
        raise Refused(f"nothing is called {what!r} that can be inspected; there are {views}")
    return inspection.VIEWS[what](system.ram)


def fsck(system: System, request: Request) -> object:
    return [violation._asdict() for violation in invariants.check(system.ram)]


def image(system: System, request: Request) -> object:
    file = request.get("file")
    path = Path(_text(request, "file")) if file is not None else system.options.folder / "image"
    if not path.is_absolute():
        raise Refused(f"{path} is no absolute path: the kernel's working folder is not yours")
    part = path.with_name(path.name + PART)
    try:
        size = save_image(system.options.ram_fd, system.mappings, part)
        part.replace(path)  # where there was no room, the former one stays
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Refused(f"{path}: {error.strerror}") from error
    return {"file": str(path), "bytes": size}


def picture(system: System, request: Request) -> object:
    """What a framebuffer shows, saved to ``file``: pixels of 4 bytes, 0x00RRGGBB, line by line.

    ``device``: its name, where the machine has several.
    """
    path, name = Path(_text(request, "file")), request.get("device")
    shown = {
        description.name: device
        for number, description in enumerate(system.options.machine.devices)
        if isinstance(device := system.machine.bus.devices[number], Framebuffer)
    }
    chosen = next(iter(shown)) if name is None and len(shown) == 1 else name
    if not isinstance(chosen, str) or chosen not in shown:
        missing = "say which framebuffer" if chosen is None and shown else "the machine has no such framebuffer"
        raise Refused(f"{missing}; there are {_list(shown)}")
    if not path.is_absolute():
        raise Refused(f"{path} is no absolute path: the kernel's working folder is not yours")
    device = shown[chosen]
    try:
        with open(os.open(path, FLAGS, 0o600), "wb") as file:
            file.write(device.picture())
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    return {"device": chosen, "width": device.mode.width, "height": device.mode.height} | device.report()


def why(system: System, request: Request) -> object:
    name = _text(request, "task")
    # One that has ended has no process, and why it does not run is worth asking most.
    running = _running(system, name)
    tcb = running or _known(system).get(name)
    if tcb is None:
        raise Refused(f"no task is called {name!r}; there are {_list(_known(system))}")
    text, cause = explain.why(system.kernel.core, tcb), system.processes.lives.cause(name)
    return f"{text}\n{_ending(name, cause)}" if running is None and cause else text


def _ending(name: str, cause: str) -> str:
    """How the last process of that name ended, as a sentence."""
    if cause.startswith("killed"):
        return f"{name} was {cause}"
    return f"{name} {cause}" if cause.startswith("ended") else f"{name} was ended: {cause}"


def schedule(system: System, request: Request) -> object:
    """What happened on virtual cores, as far as it is kept: (microseconds, core, thread, what), the oldest first."""
    if not system.kernel.core.kernel.cores:
        raise Refused("the host schedules this system's threads; one with scheduling = 'strict' keeps a trace")
    return [list(event) for event in system.kernel.core.trace.last()]


def down(system: System, request: Request) -> object:
    system.loop.call_soon(system.end, 0)
    return {}


def upgrade(system: System, request: Request) -> object:
    """The kernel is stopped as soon as the monitor has loaded the code anew."""
    system.store.say("upgrade")
    return {"upgrades": system.options.upgrades, "failed_upgrades": system.options.failed_upgrades}


def _text(request: Request, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise Refused(f"{request['op']} takes {key!r}, a text")
    return value


def _running(system: System, name: str) -> Tcb | None:
    """The thread of that name which has a process; for a task's name its first one."""
    system.processes.name_anew()
    for thread in system.processes.threads.values():
        if not thread.orphan and _thread_name(thread.process, thread) == name:
            return thread.tcb
    return None


def _known(system: System) -> dict[str, Tcb]:
    """All threads that RAM knows and that are called something, by name."""
    found = (Tcb(system.ram, address) for address in survey(system.ram).of_type(CapType.TCB))
    named = {tcb.name: tcb for tcb in found if tcb.name}
    running = {_thread_name(each.process, each): each.tcb for each in system.processes.threads.values()}
    return named | running


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"


OPERATIONS: Final[dict[str, Callable[[System, Request], object]]] = {
    operation.__name__: operation
    for operation in (ps, description, kill, inspect, fsck, image, picture, why, schedule, down, upgrade, status)
}
