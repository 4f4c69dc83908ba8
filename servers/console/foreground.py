"""Who is told of Ctrl-C: the client that was handed the last line, while it waits for that."""

from __future__ import annotations

from typing import Final

from libsel4py.context import ReplyToken

CONTROL_C: Final = b"\x03"


class Foreground:
    """Clients that wait for Ctrl-C, by badge.

    Attributes:
        client: the badge of the client that was handed the last line; 0 if none was.
    """

    def __init__(self, client: int) -> None:
        self.client = client
        self._waiting: dict[int, tuple[int, ReplyToken]] = {}  # with the command that each waits in
        self._ended: dict[int, int] = {}  # each client's last command that is over

    def is_over(self, client: int, command: int) -> bool:
        """Whether a client has said so, of this command or of a later one."""
        return command <= self._ended.get(client, -1)

    def wait(self, command: int, token: ReplyToken) -> None:
        """A client waits in a command; it has given up what it waited in before. One that is older comes late."""
        client = token.caller.badge
        known = self._waiting.get(client)
        if known is not None and known[0] > command:
            token.complete(False)
            return
        self._waiting[client] = command, token
        if known is not None:
            known[1].complete(False)

    def end(self, client: int, command: int) -> None:
        """A client's command is over, and all before."""
        self._ended[client] = max(command, self._ended.get(client, -1))
        if client in self._waiting and self.is_over(client, self._waiting[client][0]):
            _, token = self._waiting.pop(client)
            token.complete(False)

    def interrupted(self, typed: bytearray) -> ReplyToken | None:
        """Who is to hear of a Ctrl-C among what is typed, which goes with all before it; None if nobody waits, or none
        is there."""
        at = typed.rfind(CONTROL_C)
        if at < 0 or self.client not in self._waiting:
            return None
        del typed[: at + 1]
        _, token = self._waiting.pop(self.client)
        return token
