"""What only shows when several keys, tasks or files are seen together. Each check is a sentence, then the check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path as FilePath
from typing import Final

from deploy.groups import GroupDraft, check_supervision
from deploy.host_devices import HostPart
from deploy.memory import memory_needed, ram_that_fits
from deploy.modules import ModulePath, classes, may_be_image, syntax_error
from deploy.problems import Problems, dotted, suggest
from deploy.quantities import format_size
from deploy.root_slots import AVAILABLE, slots_needed
from deploy.scanner import Path
from deploy.sections import MIB, TaskDraft, UseDraft
from hw.host_calls import number_of
from libsel4py.abi import FIXED_SIZE_BITS, FRAME_MIN_BITS, ObjectType, Rights
from libsel4py.description import DMA_DEVICES, NAMES_INTERFACE, Backend, Device, Restart
from libsel4py.environment import ChannelUse

RESERVED_NAMES: Final = ("root", "kerneld", "monitor", "zygote")
RESERVED_CONNECTIONS: Final = ("parent", "system", "lifecycle")
CHANNEL_POOL: Final = 2 << FIXED_SIZE_BITS[ObjectType.CHANNEL]  # half of a pool is for channels: libsel4py/channels.py


@dataclass(frozen=True)
class Draft:
    """A whole description as it was written."""

    ram: int
    devices: tuple[Device, ...]
    host_parts: dict[str, HostPart]
    tasks: tuple[TaskDraft, ...]
    groups: tuple[GroupDraft, ...] = ()

    def task(self, name: str) -> TaskDraft | None:
        return next((task for task in self.tasks if task.name == name), None)

    def interface_of(self, use: UseDraft) -> str | None:
        """The interface that the used endpoint is declared with; None if there is no such endpoint."""
        task = self.task(use.task)
        return next((each.interface for each in task.provides if each.name == use.provided), None) if task else None


def check(draft: Draft, modules: ModulePath, problems: Problems) -> None:
    """Reports everything that does not fit together."""
    _check_devices(draft, problems)
    for task in draft.tasks:
        _check_task(task, modules, problems)
        _check_interfaces(task, modules, problems)
        for use in (*task.uses, *task.names):
            _check_use(draft, task, use, problems)
        _check_channels(task, problems)
        _check_assigned(draft, task, problems)
        _check_names(draft, task, problems)
        _check_pager(draft, task, problems)
    _check_loosened_images(draft.tasks, problems)
    check_supervision(draft.tasks, draft.groups, problems)
    _check_badges(draft, problems)
    _check_memory(draft, problems)
    _check_root_slots(draft, problems)


def _check_devices(draft: Draft, problems: Problems) -> None:
    for first, second in combinations(draft.devices, 2):
        path: Path = ("machine", "devices", second.name)
        # Two devices on one line could not be told apart by their drivers.
        if first.irq == second.irq:
            remedy = f"give each its own line, such as {_free_irq(draft.devices)}"
            problems.add((*path, "irq"), f"{second.name} has interrupt line {second.irq}, as {first.name} has", remedy)
        # An access must reach one device.
        if first.first_port <= second.last_port and second.first_port <= first.last_port:
            problems.add(
                (*path, "port"),
                f"ports {second.first_port:#x}..{second.last_port:#x} of {second.name} overlap "
                f"{first.first_port:#x}..{first.last_port:#x} of {first.name}",
                "move one of them",
            )
        # There is one standard input.
        if first.backend is second.backend is Backend.STDIO:
            problems.add(
                (*path, "backend"), f"{second.name} is on stdio, as {first.name} is", "give one of them backend = 'pty'"
            )


def _free_irq(devices: Iterable[Device]) -> int:
    taken = {device.irq for device in devices}
    return next(irq for irq in range(3, len(taken) + 4) if irq not in taken)


def _check_task(task: TaskDraft, modules: ModulePath, problems: Problems) -> None:
    # Logs and commands use these names for the processes around the tasks.
    if task.name in RESERVED_NAMES:
        problems.add(
            task.path, f"a task cannot be called {task.name!r}", "that is part of the system; choose another name"
        )
    if task.image:
        _check_image(task.image, (*task.path, "image"), modules, problems)
    for index, image in enumerate(task.images):
        _check_image(image, (*task.path, "images", index), modules, problems)
    for index, image in enumerate(task.versions):
        _check_image(image, (*task.path, "versions", index), modules, problems)
    # Its end is the system's end, so it can never be started again.
    if task.essential and task.restart is Restart.ALWAYS:
        finding = f"{dotted(task.path)} is essential, and its restart is 'always'"
        problems.add((*task.path, "restart"), finding, "its end ends the system: use 'never' or 'on-failure'")
    # One name, one thing: the component asks for all of them by name.
    for name in sorted({use.name for use in task.uses} & {assigned.name for assigned in task.devices}):
        finding = f"{dotted(task.path)} has {name!r} both among its uses and its devices"
        problems.add((*task.path, "devices", name), finding, "rename one of them")

    # Half of the CNode is for everything else.
    if 2 * task.state_slots > 1 << task.slot_bits:
        finding = f"{dotted(task.path)} keeps {task.state_slots} capabilities in a CNode of {1 << task.slot_bits} slots"
        problems.add((*task.path, "state_slots"), finding, "give it slot_bits for twice as many, or keep fewer")

    _check_standby(task, problems)
    _check_reply_rights(task, problems)
    _check_host_calls(task, problems)

    # Root puts its own endpoints under these names.
    for use in task.uses:
        if use.name in RESERVED_CONNECTIONS:
            remedy = f"that names root's own endpoint; call it something else, such as {use.name}_server"
            problems.add(use.path, f"{dotted(use.path)} cannot be called {use.name!r}", remedy)


def _check_reply_rights(task: TaskDraft, problems: Problems) -> None:
    if task.reply_rights & Rights.GRANT:
        return
    finding = f"{dotted(task.path)} has reply_rights = 'w'"
    # What is withheld of one reply object, another one would have.
    if task.pool:
        remedy = "give it pool = '0K', and spare_replies for calls that it answers later"
        problems.add(
            (*task.path, "reply_rights"),
            f"{finding}, and a pool of {format_size(task.pool)}: memory makes reply objects that grant",
            remedy,
        )
    # Its clients would get answers without what they asked for.
    from deploy.authority.declared import carried, is_known  # interfaces are imported for it: by few descriptions

    for provide in task.provides:
        answered = () if not is_known(provide.interface) else sorted(carried(provide.interface).answered)
        if answered:
            problems.add(
                (*task.path, "provides", provide.name),
                f"{finding}, and provides {provide.interface}, which answers with capabilities ({', '.join(answered)})",
                "leave reply_rights out",
            )


def _check_host_calls(task: TaskDraft, problems: Problems) -> None:
    for index, name in enumerate(task.host_calls):
        if number_of(name) is None:
            path = (*task.path, "host_calls", index)
            problems.add(path, f"no host system call is called {name!r}", "name calls as hw/_cpu/host_calls.c does")


def _check_loosened_images(tasks: Iterable[TaskDraft], problems: Problems) -> None:
    """A process is known by what it runs: what one task's image may do, all processes of that image may."""
    for task in tasks:
        if task.versions and any(each.host_calls for each in tasks if each is task or each.image in task.versions):
            finding = f"{dotted(task.path)} has versions, and host_calls are there for it or one of them"
            problems.add((*task.path, "versions"), finding, "leave versions out, or host_calls")
    for one, other in combinations(tasks, 2):
        if one.image == other.image and set(one.host_calls) != set(other.host_calls):
            loosened = one if one.host_calls else other
            finding = f"{dotted(one.path)} and {dotted(other.path)} have one boot image and not the same host_calls"
            problems.add((*loosened.path, "host_calls"), finding, "give both the same, or one an image of its own")


def _check_standby(task: TaskDraft, problems: Problems) -> None:
    if not task.standby:
        return
    path, finding = (*task.path, "standby"), f"a process is to stand by for {dotted(task.path)}"
    # What runs from its start to its end has no moment at which another one could go on.
    if not task.provides:
        problems.add(path, f"{finding}, which provides nothing", "leave standby out: it is for servers")
    if task.restart is Restart.NEVER:
        problems.add(path, f"{finding}, which is never started again", "add restart = 'always'")
    # A pager knows one address space of each task.
    if task.pager:
        problems.add(path, f"{finding}, which has a pager", "leave one of them out")


def _check_image(module: str, path: Path, modules: ModulePath, problems: Problems) -> None:
    source = _check_module(module, path, modules, problems)
    # It would end before it began, and whoever calls it would wait.
    if source is not None and not may_be_image(source):
        finding = f"{dotted(path)}: module {module!r} can be no image, since it has no component"
        problems.add(path, finding, "write @component above its class (or a function main)")


def _check_module(module: str, path: Path, modules: ModulePath, problems: Problems) -> FilePath | None:
    """The module's source file; None if there is none that Python can read, which is a problem."""
    try:
        found = modules.find(module)
    except ValueError:
        problems.add(path, f"{dotted(path)} is {module!r}, which is no module name", "write 'package.module'")
        return None
    if hidden := modules.hidden(module):
        finding = f"{dotted(path)}: {hidden} is not what Python finds as module {module!r}: {found or 'its own'} is"
        problems.add(path, finding, "give yours a name that nothing in Python, this tree or the installed packages has")
        return None
    if found is None:
        remedy = f"{_suggest_module(module, modules)} (folders beside the description are added by system.paths)"
        problems.add(path, f"{dotted(path)}: there is no module {module!r}", remedy)
        return None
    if error := syntax_error(found):
        problems.add(path, f"{dotted(path)}: module {module!r} is no Python: {found}, {error}", "correct it there")
        return None
    return found


def _suggest_module(module: str, modules: ModulePath) -> str:
    siblings = modules.siblings(module)
    return suggest(module, siblings) if siblings else "check its spelling"


def _check_interfaces(task: TaskDraft, modules: ModulePath, problems: Problems) -> None:
    for provide in task.provides:
        path = (*task.path, "provides", provide.name)
        module, colon, name = provide.interface.partition(":")
        if not colon or not name.isidentifier():
            if provide.interface:
                finding = f"{dotted(path)} is {provide.interface!r}, which is no interface"
                problems.add(path, finding, "write 'package.module:Class'")
            continue
        source = _check_module(module, path, modules, problems)
        if source and name not in classes(source):
            finding = f"{dotted(path)}: module {module!r} has no class {name!r}"
            problems.add(path, finding, suggest(name, classes(source)))


def _check_use(draft: Draft, task: TaskDraft, use: UseDraft, problems: Problems) -> None:
    target = draft.task(use.task)
    if target is None:
        known = suggest(use.task, (each.name for each in draft.tasks))
        problems.add(use.path, f"{dotted(use.path)}: there is no task {use.task!r}", known)
        return
    interface = draft.interface_of(use)
    if interface is None:
        known = suggest(use.provided, (each.name for each in target.provides))
        problems.add(use.path, f"{dotted(use.path)}: task {use.task!r} provides no {use.provided!r}", known)
    elif use.interface not in (None, interface):
        finding = f"{dotted(use.path)} expects {use.interface}, but {use.task}.{use.provided} is {interface}"
        problems.add((*use.path, "interface"), finding, "use the interface that is provided, or another endpoint")
    # A component that calls itself waits for itself.
    if target is task:
        problems.add(use.path, f"{dotted(use.path)} is the task's own endpoint", "a task cannot call itself")


def _check_channels(task: TaskDraft, problems: Problems) -> None:
    for use in task.uses:
        if use.channel is not ChannelUse.ALWAYS:
            continue
        path = (*use.path, "channel")
        # The kernel connects nobody who may not call, or who could not be answered.
        if not use.rights & Rights.WRITE or not use.rights & (Rights.GRANT | Rights.GRANT_REPLY):
            finding = f"{dotted(path)} is 'always', but the connection's rights let it send no calls"
            problems.add(path, finding, "give it rights = 'wp' (or 'wgp'), or leave channel out")
        # It would be refused for ever.
        if task.pool < CHANNEL_POOL:
            finding = f"{dotted(path)} is 'always', and the task's pool is {format_size(task.pool)}"
            remedy = f"a channel is paid from half of the pool: give the task pool = '{format_size(CHANNEL_POOL)}'"
            problems.add(path, finding, f"{remedy} at least, or leave channel out")
    # What a task looks up comes to a slot that may hold something else tomorrow.
    for use in task.names:
        if use.channel is ChannelUse.ALWAYS:
            path = (*use.path, "channel")
            finding = f"{dotted(path)} is 'always', but what a task looks up has no channel"
            problems.add(path, finding, "name it among the task's uses, or leave channel out")


def _check_assigned(draft: Draft, task: TaskDraft, problems: Problems) -> None:
    for assigned in task.devices:
        path = (*task.path, "devices", assigned.name)
        names = [device.name for device in draft.devices]
        if assigned.device and assigned.device not in names:
            finding = f"{dotted(path)}: the machine has no device {assigned.device!r}"
            problems.add(path, finding, suggest(assigned.device, names))
            continue
        # An IOSpace that no device looks at would be paid for nothing.
        kinds = [device.type for device in draft.devices if device.name == assigned.device]
        if assigned.io_space and kinds and kinds[0] not in DMA_DEVICES:
            able = ", ".join(each.value for each in DMA_DEVICES)
            finding = f"{dotted(path)} has an IOSpace, but {assigned.device!r} ({kinds[0].value}) does no DMA"
            problems.add((*path, "io_space"), finding, f"leave io_space out; devices that do DMA: {able}")
        # Two drivers would take each other's interrupts.
        for other in draft.tasks:
            for theirs in other.devices:
                same = theirs.device == assigned.device
                earlier = draft.tasks.index(other) < draft.tasks.index(task)
                twice = other is task and theirs.name < assigned.name
                if same and (earlier or twice):
                    finding = f"{dotted(path)}: {assigned.device!r} already belongs to {other.name}"
                    problems.add(path, finding, "one task drives a device; the others use what it provides")


def _check_names(draft: Draft, task: TaskDraft, problems: Problems) -> None:
    # A directory is read through a names server.
    if task.names and not any(draft.interface_of(use) == NAMES_INTERFACE for use in task.uses):
        finding = f"{dotted(task.path)} has names, but uses no names server"
        problems.add((*task.path, "names"), finding, "add uses = { names = 'names.names' }, and the task names")


def _check_pager(draft: Draft, task: TaskDraft, problems: Problems) -> None:
    path = (*task.path, "pager")
    if not task.pager:
        # Nobody would ever give it that memory.
        if task.paged:
            finding = f"{dotted(task.path)} has paged memory, but no pager"
            problems.add((*task.path, "paged"), finding, "add pager = 'TASK', a task of image servers.pager.main")
        return
    target = draft.task(task.pager)
    if target is None:
        known = suggest(task.pager, (each.name for each in draft.tasks))
        problems.add(path, f"{dotted(path)}: there is no task {task.pager!r}", known)
    # It would wait for itself.
    elif target is task:
        problems.add(path, f"{dotted(path)} is the task itself", "a task cannot page itself; name another")
    # Faults come in at the endpoint of what a task provides.
    elif not target.provides:
        finding = f"{dotted(path)}: task {task.pager!r} provides nothing, so it cannot be told of faults"
        remedy = "give it provides = { pager = 'libsel4py.interfaces.pager:PagerStatistics' }"
        problems.add(path, finding, remedy)
    # The kernel maps whole pages.
    if not task.paged or task.paged % (1 << FRAME_MIN_BITS):
        finding = f"{dotted(task.path)} has a pager, and paged memory of {task.paged} bytes"
        problems.add((*task.path, "paged"), finding, "give it whole pages, such as paged = '1M'")


def _check_badges(draft: Draft, problems: Problems) -> None:
    # All that a task provides comes in at one endpoint; it tells its clients apart by their badges.
    taken: dict[tuple[str, int], UseDraft] = {}
    for task in draft.tasks:
        for use in (*task.uses, *task.names):
            if use.badge is None:
                continue
            first = taken.setdefault((use.task, use.badge), use)
            if first is not use:
                finding = f"{dotted(use.path)} has badge {use.badge}, as {dotted(first.path)} has"
                problems.add((*use.path, "badge"), finding, "give each its own, or leave badge out to have one chosen")


def _check_memory(draft: Draft, problems: Problems) -> None:
    fits = ram_that_fits(draft.tasks)
    if draft.ram < fits:
        needed = f"{-(-memory_needed(draft.tasks) // MIB)}M in aligned powers of two"
        finding = f"the tasks and root need {needed}, which does not fit {format_size(draft.ram)} of RAM"
        problems.add(("machine", "ram"), finding, f"give machine.ram = '{format_size(fits)}', or the tasks less memory")


def _check_root_slots(draft: Draft, problems: Problems) -> None:
    needed = slots_needed(draft.tasks)
    if needed > AVAILABLE:
        finding = f"{len(draft.tasks)} tasks take {needed} slots of root's CNode, which has {AVAILABLE} for them"
        problems.add(("task",), finding, "use fewer tasks, or fewer threads")


def badges(draft: Draft) -> Mapping[Path, int]:
    """A badge for every connection: the one that it asked for, else the lowest that no client of that task has."""
    uses = [use for task in draft.tasks for use in (*task.uses, *task.names)]
    chosen = {use.path: use.badge for use in uses if use.badge is not None}
    taken = {(use.task, use.badge) for use in uses if use.badge is not None}
    for use in uses:
        badge = 1
        while use.path not in chosen and (use.task, badge) in taken:
            badge += 1
        taken.add((use.task, chosen.setdefault(use.path, badge)))
    return chosen
