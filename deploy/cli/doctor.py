"""``sel4py doctor``: what does this host give?"""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported
from deploy.cli.rendering import line, table, warning


@click.command()
@reported
def command() -> Report:
    """Try what sel4py needs of this host; exit status 1 if something required is missing."""
    import dataclasses

    from deploy.host_checks import findings
    from hw.layers import VARIABLE, left_out

    found = list(findings())
    missing = [each.feature for each in found if each.required and not each.found]

    def show() -> None:
        states = {True: "yes", False: "no"}
        table(
            ("feature", "here", "needed", "detail", "purpose"),
            [
                (
                    each.feature,
                    "MISSING" if each.required and not each.found else states[each.found],
                    "required" if each.required else "optional",
                    each.detail,
                    each.purpose,
                )
                for each in found
            ],
        )
        if without := left_out().names():
            warning(f"{VARIABLE} is set: tasks of a system that is started from here run WITHOUT {', '.join(without)}")
        line(f"required and missing: {', '.join(missing)}" if missing else "everything required is here")

    return Report([dataclasses.asdict(each) for each in found], show, ok=not missing)
