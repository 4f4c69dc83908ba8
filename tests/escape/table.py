"""What each layer of the sandbox alone stops, measured: the page docs/escape.md.

    python -m tests.escape.table [--print] [--plain FILE]
    python -m tests.escape.table --outcomes > FILE
    python -m tests.escape.table --deputies

It boots a system for each layer, without that one, and lets all attempts run in it but those on servers; then one
without any. An attempt that succeeds without a layer and fails with all was stopped by that layer alone. The figures
are of the host and the user that it ran on, and are said with them; root's page has a section of how a plain user's
differ, from what that user's run with `--outcomes` has put out (JSON). ``--deputies`` measures nothing: it
writes what the page says of attempts on servers anew, and how many there are of all.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hw.cpu import sandbox_layers
from hw.layers import Layer
from tests.escape import users
from tests.escape.attempt import DEPUTIES, Attempt, Fate, Outcome, Outside, corpus
from tests.escape.scene import ROOT, inside, outside, victim

PAGE: Final = ROOT / "docs" / "escape.md"
LAYERS: Final = tuple(str(layer.name).lower() for layer in Layer)
ALL: Final = "all"
ELSEWHERE: Final = frozenset(Outside) - {Outside.GRANTED, Outside.NO}  # where a process of the host shows it
Outcomes = Mapping[str, Outcome]
HEAD: Final = Path(__file__).with_name("page_head.txt")


def measured(attempts: Sequence[Attempt]) -> tuple[Outcomes, dict[str, Outcomes]]:
    """How they go outside, and in systems without layers, by the layers' names ("" is none left out)."""
    runs: dict[str, Outcomes] = {}
    with victim() as stage:
        free = outside(stage, [attempt for attempt in attempts if attempt.outside in ELSEWHERE])
    for without in ("", *LAYERS, ALL):
        with victim() as stage:
            runs[without] = inside(stage, attempts, without=without).outcomes
    return free, runs


def stopped_alone_by(runs: Mapping[str, Outcomes], path: str) -> list[str]:
    """The layers without any one of which it succeeds."""
    return [layer for layer in LAYERS if path in runs[layer] and runs[layer][path].fate is Fate.SUCCEEDED]


def page(attempts: Sequence[Attempt], free: Outcomes, runs: Mapping[str, Outcomes], plain: users.Escaped) -> str:
    """The text; `plain` is what succeeded for a plain user, of which nothing is said if it is empty."""
    user = "root" if os.getuid() == 0 else "a plain user"
    landlock = sandbox_layers().landlock or "none"
    text = HEAD.read_text().format(count=len(corpus()), user=user, release=platform.release(), landlock=landlock)
    alone = {attempt.path: stopped_alone_by(runs, attempt.path) for attempt in attempts}
    lines = ["## Layer by layer", "", "| left out | attempts that succeed then | which |", "| --- | --- | --- |"]
    for layer in LAYERS:
        paths = [path for path, layers in alone.items() if layer in layers]
        lines.append(f"| {layer} | {len(paths)} | {', '.join(f'`{path}`' for path in paths)} |")
    freed = [path for path, outcome in runs[ALL].items() if outcome.fate is Fate.SUCCEEDED]
    several = [path for path in freed if not alone[path]]
    held = [attempt for attempt in attempts if attempt.path not in freed]
    lines += [
        f"| all | {len(freed)} | those above, and {len(several)} that two layers or more stop, each of them alone |",
        "",
        f"The other {len(held)} fail without any layer as well: capabilities, the checks of rings, the host's memory",
        "protection, or that a descriptor was never handed over stop them, or this host lacks what they attack.",
        "",
        "Stopped by two layers or more: " + ", ".join(f"`{path}`" for path in several) + ".",
        "",
        *(users.section(users.escaped(free, runs), plain) if plain else []),
        *families(attempts, free, runs, alone),
    ]
    return text + "\n".join(lines) + "\n"


def families(
    attempts: Sequence[Attempt], free: Outcomes, runs: Mapping[str, Outcomes], alone: Mapping[str, list[str]]
) -> list[str]:
    """A table of all attempts, by family."""
    lines = ["## All attempts", ""]
    for family in sorted({attempt.family for attempt in attempts}):
        own = [attempt for attempt in attempts if attempt.family == family]
        fates = Counter(str(runs[""][attempt.path].fate) for attempt in own)
        said = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
        lines += [f"### {family}", "", f"{len(own)} attempts: {said}.", ""]
        lines += [
            "| attempt | what | in a task | outside | stopped by one layer alone |",
            "| --- | --- | --- | --- | --- |",
        ]
        for attempt in own:
            shown = str(free.get(attempt.path, "")) or _elsewhere(attempt)
            went, layers = runs[""][attempt.path], ", ".join(alone[attempt.path])
            lines.append(f"| `{attempt.name}` | {attempt.tried} | {went} | {shown} | {layers} |")
        lines.append("")
    return [*lines, *on_servers()]


def on_servers() -> list[str]:
    """The table of the attempts on servers, which is the page's last."""
    deputies = [attempt for attempt in corpus() if attempt.family == DEPUTIES]
    lines = [
        f"### {DEPUTIES}",
        "",
        f"{len(deputies)} attempts on servers; `pytest -m slow tests/escape` runs them.",
        "",
    ]
    lines += ["| attempt | what | elsewhere |", "| --- | --- | --- |"]
    lines += [f"| `{each.name}` | {each.tried} | {_elsewhere(each)} |" for each in deputies]
    return lines


def with_deputies(text: str) -> str:
    """The page with what it says of attempts on servers as they are now."""
    before = re.sub(
        r"has \d+ attempts", f"has {len(corpus())} attempts", text[: text.index(f"### {DEPUTIES}\n")], count=1
    )
    return before + "\n".join(on_servers()) + "\n"


def _elsewhere(attempt: Attempt) -> str:
    return "succeeds where it is granted" if attempt.outside is Outside.GRANTED else f"nowhere: {attempt.why}"


def main(arguments: Sequence[str]) -> None:
    if "--deputies" in arguments:
        PAGE.write_text(with_deputies(PAGE.read_text()))
        return
    attempts = [attempt for attempt in corpus() if attempt.family != DEPUTIES]
    free, runs = measured(attempts)
    if "--outcomes" in arguments:
        print(json.dumps(users.escaped(free, runs)))
        return
    plain = json.loads(Path(arguments[arguments.index("--plain") + 1]).read_text()) if "--plain" in arguments else {}
    text = page(attempts, free, runs, plain)
    if "--print" in arguments:
        print(text)
    else:
        Path(PAGE).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
