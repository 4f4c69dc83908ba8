"""A line editor: what ``edit`` does. Commands are those of ed, as far as they go.

Rules. The file changes at ``w`` alone, as a whole. Ctrl-C or Ctrl-D leaves a line or the editor; changes that were not
written are asked about once.
"""

from __future__ import annotations

import re
from typing import Final

from apps.shell.session import CommandError, Session
from libsel4py.files import Path
from libsel4py.interfaces.console import EndOfInput, Interrupted

PROMPT: Final = ": "
MAX_BYTES: Final = 1 << 20
HELP: Final = """\
  p          show all lines, 3p one, 2,5p some ($ is the last)
  a          add lines behind the last one, 3a behind line 3, 0a before the first; a line with . alone ends them
  3c, 2,5c   put other lines in the place of these
  3d, 2,5d   delete lines
  3s/A/B/    put B in the place of each A in line 3 (no number: in all lines)
  w          write the file
  q          leave
"""
_COMMAND: Final = re.compile(r"(?:(?P<first>\d+|\$)(?:,(?P<last>\d+|\$))?)?\s*(?P<what>[pacdswqh])(?P<rest>.*)")


class _Leave(Exception):
    """The person has done."""


class _Text:
    """The lines that are worked on."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.is_changed = False

    def replace(self, first: int, last: int, lines: list[str]) -> None:
        """Lines first..last (from 1; last = first - 1: none) become these."""
        self.lines[first - 1 : last] = lines
        self.is_changed = True


def edit(session: Session, path: Path) -> None:
    """Let a person change a file. Raises CommandError: it is no text, or too long; and what file systems raise."""
    text = _Text(_read(path))
    session.tell(f"{path}: {len(text.lines)} lines; h lists the commands\n")
    warned = False
    while True:
        try:
            line = session.console.read_line(PROMPT, history=False).strip()
        except Interrupted:
            continue
        except EndOfInput:
            line = "q"
        try:
            if line == "q" and text.is_changed and not warned:
                warned = True
                raise CommandError("not written: w writes it, and q again leaves it as it was")
            if line:
                _carry_out(session, path, text, line)
        except _Leave:
            return
        except (CommandError, OSError) as error:
            session.tell(f"{error}\n")
        else:
            warned = False


def _carry_out(session: Session, path: Path, text: _Text, line: str) -> None:
    match = _COMMAND.fullmatch(line)
    if match is None or (match["rest"] and match["what"] != "s"):
        raise CommandError(f"{line!r} is no command; h lists them")
    count, what = len(text.lines), match["what"]
    first = _line(match["first"], count, count if what == "a" else 1, 0 if what == "a" else 1)
    last = _line(match["last"], count, first if match["first"] else count, first)
    match what:
        case "p":
            numbered = enumerate(text.lines[first - 1 : last], first)
            session.tell("".join(f"{number:4}  {each}\n" for number, each in numbered))
        case "a":
            text.replace(first + 1, first, _typed(session))
        case "c" | "d":
            if match["first"] is None:
                raise CommandError(f"{what}: say which lines, such as 3{what}")
            text.replace(first, last, _typed(session) if what == "c" else [])
        case "s":
            old, new = _substitution(match["rest"])
            text.replace(first, last, [each.replace(old, new) for each in text.lines[first - 1 : last]])
        case "w":
            path.files.replace_file(path, "".join(each + "\n" for each in text.lines).encode())
            text.is_changed = False
            session.tell(f"{len(text.lines)} lines written\n")
        case "q":
            raise _Leave
        case "h":
            session.tell(HELP)


def _line(text: str | None, count: int, default: int, least: int) -> int:
    found = default if text is None else count if text == "$" else int(text)
    if text is not None and not least <= found <= count:
        raise CommandError(f"there is no line {text} here; there are {least} to {count}")
    return found


def _typed(session: Session) -> list[str]:
    """Lines up to a dot alone."""
    lines: list[str] = []
    try:
        while (line := session.console.read_line("", history=False)) != ".":
            lines.append(line)
    except (EndOfInput, Interrupted):
        session.tell("these lines were taken\n")
    return lines


def _substitution(text: str) -> tuple[str, str]:
    parts = text.split(text[:1]) if text else []
    if len(parts) != 4 or parts[0] or parts[3] or not parts[1]:
        raise CommandError("s/A/B/ puts B in the place of A; any other sign will do for / as well")
    return parts[1], parts[2]


def _read(path: Path) -> list[str]:
    if not path.exists():
        return []
    if (size := path.stat().size) > MAX_BYTES:
        raise CommandError(f"{path} has {size} bytes; this editor takes {MAX_BYTES}")
    try:
        return _lines(path.read_bytes().decode())
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no text; hexdump shows it") from None


def _lines(text: str) -> list[str]:
    """Lines end at a line feed alone: whatever else may end one is kept, so that a line that nobody changed stays."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]
