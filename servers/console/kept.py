"""What of a console outlives its process: what was typed and not handed out, how the terminal looks, and histories."""

from __future__ import annotations

from typing import Final

import msgspec

from libsel4py.request_ids import Lane

STATE_BYTES: Final = 1 << 18
HISTORY_BYTES: Final = 8192  # of all clients together; beyond them the oldest lines are kept by the process alone


class Session(msgspec.Struct):
    """One terminal.

    Attributes:
        typed: bytes that are in no line which was handed out; the line being typed begins them. editing: its prompt
            and what is shown of it stand on the terminal. after_return: the last line ended with a carriage return.
        unfinished: output by client that waits for its newline. histories: lines by client, the oldest first.
        foreground: the client that was handed the last line.
        lane_name, reads: the lane of reads of the serial line, and the count of the last one whose bytes are here.
    """

    typed: bytes = b""
    editing: bool = False
    after_return: bool = False
    unfinished: dict[int, str] = {}
    histories: list[tuple[int, str]] = []
    lane_name: int = 0
    reads: int = 0
    foreground: int = 0

    def lane(self) -> Lane:
        """The lane to read by. Its next request may have been sent by a former life; of a new lane, only once this is
        kept."""
        if self.lane_name:
            return Lane(self.lane_name, self.reads + 1, unanswered=True)
        lane = Lane.new()
        self.lane_name, self.reads = lane.name, 0
        return lane

    def read_by(self, lane: Lane) -> None:
        """Note that the answer to its last request is here."""
        self.lane_name, self.reads = lane.name, lane.count

    def read_histories(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for client, line in self.histories:
            found.setdefault(client, []).append(line)
        return found

    def write_histories(self, histories: dict[int, list[str]]) -> None:
        """Keep the newest lines of each client, all clients the same number of bytes."""
        share = HISTORY_BYTES // max(1, len(histories))
        kept: list[tuple[int, str]] = []
        for client, lines in histories.items():
            left, mine = share, []
            for line in reversed(lines):
                left -= len(line.encode()) + 16
                if left < 0:
                    break
                mine.append((client, line))
            kept += reversed(mine)
        self.histories = kept
