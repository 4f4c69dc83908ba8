"""Reads a system description: TOML in, a checked value or every problem with its line out.

The way: text → ``tomllib`` → ``sections.py`` (each key alone) → ``crosscheck.py`` (together) →
``libsel4py.description.System``. The schema is told in docs/guide/descriptions.md. Rule: nothing that a description
names is imported or run here.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.crosscheck import Draft, badges, check
from deploy.groups import read_group, resolve, stop_timeout
from deploy.host_devices import HostPart
from deploy.modules import ModulePath
from deploy.names import NAME_PATTERN, NAME_RULE
from deploy.problems import BadDescription, Problems, dotted
from deploy.reader import Table
from deploy.scanner import line_numbers
from deploy.scheduling import Scheduling, check_cores, check_devices, read_scheduling
from deploy.sections import RAM_DEFAULT, RAM_HIGH, RAM_LOW, TaskDraft, UseDraft, read_devices, read_task
from deploy.start_order import start_order
from libsel4py import abi
from libsel4py.description import FIRST_HEARTBEAT_US, System, Task, Use

SYSTEMS: Final = Path(__file__).resolve().parent / "systems"
_FILE_LIMIT: Final = 1 << 20  # bytes
_CHUNK_HEADER: Final = 16
PACKED_LIMIT: Final = (1 << abi.BOOT_INFO_FRAME_BITS) - abi.BOOT_INFO_EXTRA * abi.WORD_BYTES - _CHUNK_HEADER


@dataclass(frozen=True)
class Description:
    """A checked description: the system, and what of this host belongs to it.

    ``paths`` are folders that its images are loaded from as well, ``host_parts`` what its devices stand on, by device
    name.
    """

    source: Path
    system: System
    paths: tuple[Path, ...]
    host_parts: dict[str, HostPart] = field(default_factory=dict)

    def pack(self) -> bytes:
        """What root is handed in BootInfo, as msgpack."""
        return self.system.pack()


def find(name: str) -> Path:
    """The file that a command's SYSTEM argument means: a path, or the name of one of ``deploy/systems``.

    Raises:
        FileNotFoundError: neither exists; the text says what would.
    """
    candidates = [Path(name), SYSTEMS / f"{name}.toml"] if NAME_PATTERN.fullmatch(name) else [Path(name)]
    for path in candidates:
        if path.is_dir():
            path = path / "system.toml"
        if path.is_file():
            return path
    if name and Path(name).is_dir():
        raise FileNotFoundError(f"the folder {name!r} has no system.toml; give a .toml file, or such a folder")
    known = ", ".join(sorted(path.stem for path in SYSTEMS.glob("*.toml")))
    raise FileNotFoundError(f"there is no system description {name!r}; give a .toml file, or one of {known}")


def load(path: Path, ram: int | None = None, name: str | None = None) -> Description:
    """Reads and checks the description in ``path``.

    Args:
        ram: bytes of RAM instead of what the file says. name: the system's name instead of the file's.
    Raises:
        BadDescription: with every problem found.
        OSError: the file cannot be read.
    """
    text, document = _parse(path)
    problems = Problems(str(path), line_numbers(text))
    top = Table(document, (), problems)
    system_name, paths, scheduling = _read_system(top.table("system"), path, name)
    draft = _read_draft(top, ram)
    check_devices(scheduling, draft.devices, problems)
    check_cores(scheduling, {task.path: task.core for task in draft.tasks}, problems)
    top.finish()
    check(draft, ModulePath.of(paths), problems)
    ordered = start_order(draft.tasks, problems)
    problems.ensure_none()
    groups = resolve(draft.groups, [task.name for task in ordered])
    tasks, cores, step = _resolve(draft, ordered), scheduling.cores, scheduling.step_us
    checked = System(system_name, draft.ram, draft.devices, tasks, groups, cores, step)
    if len(checked.pack()) > PACKED_LIMIT:
        finding = f"the description packs to {len(checked.pack())} bytes"
        problems.add(("task",), finding, f"BootInfo holds {PACKED_LIMIT}: use fewer tasks, or less config")
    problems.ensure_none()
    return Description(path, checked, paths, draft.host_parts)


def _parse(path: Path) -> tuple[str, dict[str, object]]:
    problems = Problems(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
        if len(data) > _FILE_LIMIT:
            problems.add((), f"the file is larger than {_FILE_LIMIT} bytes", "a description is a page or two")
        text = data.decode("utf-8").replace("\r\n", "\n")
        problems.ensure_none()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.lines = {(): line}
        problems.add((), f"byte {data[error.start]:#04x} is not UTF-8", "save the file as UTF-8")
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
        problems.lines = {(): line}
        problems.add((), f"this is not TOML: {str(error)[: place.start() if place else None]}", "see toml.io")
    except ValueError:  # Python reads none of more than some thousand digits
        number = re.search(r"[0-9_]{1000,}", text)
        problems.lines = {(): text.count("\n", 0, number.start() if number else 0) + 1}
        problems.add((), "a number has too many digits", "TOML's numbers have 64 bits")
    except RecursionError:
        problems.add((), "tables or arrays are nested too deeply", "a description needs a depth of five")
    raise BadDescription(problems.found)


def _read_system(table: Table, path: Path, name: str | None) -> tuple[str, tuple[Path, ...], Scheduling]:
    default = path.stem if NAME_PATTERN.fullmatch(path.stem) else "system"
    own = table.string("name", default)
    if not NAME_PATTERN.fullmatch(own):
        table.report("name", f"is {own!r}", NAME_RULE)
    folders = []
    for index, folder in enumerate(table.strings("paths")):
        resolved = Path(os.path.realpath(path.parent / folder))
        key = (*table.path, "paths", index)
        if not os.path.isdir(resolved):  # which no name is too long for
            table.problems.add(
                key, f"{dotted(key)} is {folder!r}, which is no folder", "folders count from this file's"
            )
        folders.append(resolved)
    scheduling = read_scheduling(table)
    table.finish()
    return name or own, tuple(folders), scheduling


def _read_draft(top: Table, ram: int | None) -> Draft:
    machine = top.table("machine")
    size = machine.size("ram", RAM_DEFAULT, RAM_LOW, RAM_HIGH, power_of_two=False)
    devices, host_parts = read_devices(machine)
    machine.finish()
    tasks = tuple(read_task(name, table) for name, table in top.named_tables("task").items())
    if not top.values.get("task"):
        top.problems.add(("task",), "the system has no task", "add [task.NAME] with image = 'package.module'")
    groups = tuple(read_group(name, table) for name, table in top.named_tables("group").items())
    return Draft(ram or size, devices, host_parts, tasks, groups)


def _resolve(draft: Draft, ordered: tuple[TaskDraft, ...]) -> tuple[Task, ...]:
    chosen = badges(draft)

    def use(each: UseDraft) -> Use:
        interface = draft.interface_of(each) or ""
        return Use(
            name=each.name,
            task=each.task,
            provided=each.provided,
            interface=interface,
            badge=chosen[each.path],
            rights=each.rights,
            late=each.late,
            channel=each.channel,
            complains=each.complains,
        )

    return tuple(
        Task(
            name=task.name,
            image=task.image,
            priority=task.priority,
            max_priority=task.max_priority,
            memory=task.memory,
            pool=task.pool,
            budget_us=task.budget_us,
            period_us=task.period_us,
            slot_bits=task.slot_bits,
            threads=task.threads,
            restart=task.restart,
            essential=task.essential,
            provides=task.provides,
            uses=tuple(map(use, task.uses)),
            names=tuple(map(use, task.names)),
            devices=task.devices,
            grants=task.grants,
            config=task.config,
            pager=task.pager,
            paged=task.paged,
            state=task.state,
            state_slots=task.state_slots,
            depends=task.depends,
            heartbeat_us=task.heartbeat_us,
            first_heartbeat_us=task.first_heartbeat_us or FIRST_HEARTBEAT_US,
            stop_timeout_us=stop_timeout(task),
            standby=task.standby,
            core=task.core,
            host_calls=task.host_calls,
            images=task.images,
            reply_rights=task.reply_rights,
            spare_replies=task.spare_replies,
            complains_of=task.complains_of,
            versions=task.versions,
        )
        for task in ordered
    )
