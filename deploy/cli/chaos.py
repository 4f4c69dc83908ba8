"""``sel4py chaos``: start a system, hurt it at random, and tell what became of it."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import click

from deploy.cli.numbers import SECONDS, Finite
from deploy.cli.output import Failure, Report, name_option, reported, wants_json
from deploy.cli.rendering import line, table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from deploy.chaos.campaign import Outcome
    from kerneld.fault_kinds import Fault
    from libsel4py.description import System

DEFAULT_SECONDS = 30.0
FAULTS_HELP = "Which, by commas, each with a weight or 1 (kill=2,slow); or all."
DEFAULT_FAULTS = "kill,hang,slow"
MOST_KERNEL_DEATHS = 1_000_000  # within ten seconds: never given up
END_SECONDS = 10.0  # for the system to end in order


def _faults(context: click.Context, parameter: click.Parameter, value: str) -> dict[Fault, float]:
    from kerneld.fault_kinds import Fault

    known = {fault.value: fault for fault in Fault}
    if value.strip() == "all":
        return dict.fromkeys(Fault, 1.0)
    names: dict[str, float] = {}
    for each in value.split(","):
        name, _, weight = each.strip().partition("=")
        if name:
            names[name] = _weight(name, weight)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'} is no fault; there are {', '.join(known)}, or all")
    return {known[name]: weight for name, weight in names.items()}


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = 0
    if not 0 < weight < math.inf:
        raise click.BadParameter(f"{name}={text}: a weight is a number above 0")
    return weight


def _targets(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(each.strip() for each in (value or "").split(",") if each.strip())
    if value is not None and not names:
        raise click.BadParameter("it names no task and no device; without it all that may be are hit")
    return names


@click.command()
@click.argument("system")
@click.option(
    "--faults",
    callback=_faults,
    default=DEFAULT_FAULTS,
    show_default=True,
    help=FAULTS_HELP,
)
@click.option("--rate", type=Finite(0, 1000, min_open=True), default=2.0, help="Faults a second [2].")
@click.option("--duration", type=SECONDS, help="Seconds at most [30, or no bound with --count].")
@click.option("--count", type=click.IntRange(1), help="Faults at most, of those that took effect.")
@click.option("--seed", type=click.IntRange(0), help="Repeats the schedule of the run that printed it.")
@click.option(
    "--targets", callback=_targets, help="The tasks and devices to hit, by commas, instead of all that may be."
)
@click.option("--workload", metavar="COMMAND", help="Run COMMAND beside it, again and again; it fails by its status.")
@name_option
@click.option("--keep-disks", is_flag=True, help="Go on with the description's own disks, not with empty ones.")
@reported
def command(
    system: str,
    faults: dict[Fault, float],
    rate: float,
    duration: float | None,
    count: int | None,
    seed: int | None,
    targets: tuple[str, ...],
    workload: str | None,
    name: str | None,
    keep_disks: bool,
) -> Report:
    """Start SYSTEM, inject faults into it at random times, and report what was seen.

    Workloads are tasks of the system that count what they see (libsel4py.workload), and a command of this host. The
    exit status is 0 if nothing was wrong: no lost or wrong data, no violated invariant, and all runs again at the end.
    Errors that a client was told of are counted, and no fault of the system's.

    Disks that the description gives a size for begin empty, in files of their own, which stay until the next run.
    """
    from deploy.chaos.campaign import Campaign, Plan
    from deploy.chaos.disks import with_empty_disks
    from deploy.chaos.workloads import HostWorkload
    from deploy.description import find, load
    from deploy.launch import LaunchOptions, ended_in_order, launch_detached
    from deploy.runtime import already_running, running, state_folder, system_folder
    from libsel4py.description import Backend

    description = load(find(system), name=name)
    _check_targets(description.system, targets, faults)
    drawn = int.from_bytes(os.urandom(4), "little") if seed is None else seed
    seconds = duration or (DEFAULT_SECONDS if count is None else math.inf)
    plan = Plan(faults, rate, drawn, seconds, count, targets)
    own = description.system.name
    disks: list[Path] = []
    if any(each.name == own for each in running()):
        raise already_running(own)
    if not keep_disks:
        description, disks = with_empty_disks(description, state_folder(own) / "chaos")
    with ExitStack() as stack:
        stack.enter_context(ended_in_order())
        launch_detached(LaunchOptions(description, Backend.PTY, most_kernel_deaths=MOST_KERNEL_DEATHS))
        stack.callback(_take_down, own)
        host = None
        if workload is not None:
            host = HostWorkload(shlex.split(workload), {**os.environ, "SEL4PY_SYSTEM": own})
            stack.callback(host.close)
        show = stack.enter_context(_Progress())
        outcome = Campaign(description.system, plan, system_folder(own), host).run(show)
        outcome.disks = [str(each) for each in disks]
    return Report(outcome.plain(), lambda: _show(outcome), outcome.ok)


def _check_targets(system: System, chosen: tuple[str, ...], faults: dict[Fault, float]) -> None:
    from deploy.chaos.schedule import NoTarget, schedule

    names = [*(task.name for task in system.tasks), *(device.name for device in system.devices)]
    if unknown := [each for each in chosen if each not in names]:
        raise Failure(f"{system.name} has no {', '.join(unknown)}; there are {', '.join(names)}")
    try:
        schedule(system, faults, 1.0, 0, chosen)
    except NoTarget as error:
        raise Failure(str(error)) from error


def _take_down(name: str) -> None:
    """End the system in order, or by force where its kernel does not answer."""
    from deploy.launch import end_at_once
    from deploy.management import Management, ManagementError
    from deploy.runtime import running, wait_ended

    try:
        for system in running():
            if system.name == name:
                with suppress(ManagementError), Management(system.folder) as management:
                    management.request("down")
                    wait_ended(system, END_SECONDS)
    finally:  # also for who does not wait for that: another Ctrl-C
        end_at_once(name)


class _Progress:
    """What is seen while it goes on: a table on a terminal, else a line now and then; on standard error."""

    _EVERY = 20  # of the calls, where there is no terminal

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._update: Callable[[Table], None] | None = None
        self._calls = 0

    def __enter__(self) -> Callable[[Outcome], None]:
        if sys.stderr.isatty() and not wants_json():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            if not console.is_dumb_terminal:  # TERM=dumb: it has lines alone
                self._update = self._stack.enter_context(Live(console=console, transient=True)).update
        return self._show

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _show(self, outcome: Outcome) -> None:
        self._calls += 1
        if self._update is not None:
            self._update(_live(outcome))
        elif self._calls % self._EVERY == 0:
            injected = sum(outcome.injected.values())
            click.echo(f"{injected} faults so far, {_told(outcome)}, seed {outcome.plan.seed}", err=True)


def _live(outcome: Outcome) -> Table:
    from rich.table import Table

    drawn = Table(title=f"chaos, seed {outcome.plan.seed}", caption=_told(outcome))
    for column in _FAULT_COLUMNS:
        drawn.add_column(column)
    for row in _fault_rows(outcome):
        drawn.add_row(*map(str, row))
    for name, counts in outcome.workloads.items():
        drawn.add_row(name, str(counts.attempts), f"{counts.failed} failed", f"{counts.wrong} wrong")
    return drawn


_FAULT_COLUMNS = ("fault", "injected", "skipped", "recovered", "p50 ms", "p99 ms", "max ms")


def _fault_rows(outcome: Outcome) -> list[list[object]]:
    told = outcome.plain()["faults"]
    assert isinstance(told, dict)
    keys = ("injected", "skipped", "recovered", "p50_ms", "p99_ms", "max_ms")
    return [[name, *(each.get(key, "-") for key in keys)] for name, each in told.items()]


def _told(outcome: Outcome) -> str:
    return (
        f"{outcome.repeated} requests repeated, {outcome.client_errors} errors seen by clients, "
        f"{outcome.wrong} of {outcome.checks} answers wrong, {outcome.data_lost} of {outcome.kept_checks} values lost, "
        f"{outcome.damaged} damaged by changed bits"
    )


def _show(outcome: Outcome) -> None:
    table(_FAULT_COLUMNS, _fault_rows(outcome))
    if outcome.workloads:
        keys = ("lives", "attempts", "failed", "repeated", "checks", "wrong", "lost", "p50_us", "p99_us", "max_us")
        rows = [[name, *(counts.plain()[key] for key in keys)] for name, counts in sorted(outcome.workloads.items())]
        table(("workload", *(key.replace("_", " ") for key in keys)), rows)
        for name, counts in sorted(outcome.workloads.items()):
            for text in counts.texts[:5]:
                line(f"{name}: {text}")
    if outcome.host is not None:
        line(f"command: {outcome.host['runs']} runs, {outcome.host['failed']} failed {outcome.host['first_failure']}")
    for disk in outcome.disks:
        line(f"its disk: {disk}")
    for skip in outcome.skips:
        line(f"not done: {skip}")
    for violation in outcome.violations:
        line(f"violated: {violation}")
    if outcome.missing:
        line(f"not running at the end: {', '.join(outcome.missing)}")
        line("who ends more often than its policy bears, by its group or ten times within ten seconds, is given up")
    if outcome.stalled:
        line(f"not answered since the last fault: {', '.join(outcome.stalled)}")
    late = outcome.late
    for each in outcome.slowest:
        why = ", longer than its policy explains" if each in late else ""
        what = f"{each.fault.value} {each.target}".strip()
        line(f"among the slowest recoveries: {what}, fault {each.number}, after {each.seconds * 1000:.0f} ms{why}")
    for name, (before, after) in outcome.descriptors.items():
        line(f"{name}: {before} open descriptors before, {after} after")
    if outcome.hidden:
        line(f"not looked at: open descriptors of {', '.join(outcome.hidden)}, which this host shows to root alone")
    line(_told(outcome))
    if outcome.lost:
        line(f"the system was lost: {outcome.lost}")
    line(f"seed {outcome.plan.seed}: {'nothing was wrong' if outcome.ok else 'something was wrong'}")
