"""A client that may complain of a server: by the SDK, by itself, and more often than anybody should."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections import Counter

from libsel4py import WrongAnswer, component, uses
from libsel4py.interface import Interface
from libsel4py.interfaces.complaints import Complaints, Verdict
from libsel4py.signature import Word
from tests.system.images.lying import Lying


class Judging(Interface):
    """What it asks, and what comes of it."""

    def ask(self) -> str:
        """What the liar says, or what is wrong with it."""

    def life(self, task: str) -> Word:
        """Which life of that task serves."""

    def complain(self, task: str, life: Word) -> str:
        """Complain of that life; the verdict."""

    def storm(self, complaints: int) -> str:
        """Complain of each life of the liar at once, so many times; how often it was ended by that."""


@component
class Main(Judging):
    """The client, which the shell drives."""

    liar = uses(Lying)
    complaints = uses(Complaints)

    def ask(self) -> str:
        try:
            return self.liar.say()
        except WrongAnswer as error:
            return f"wrong: {error}"

    def life(self, task: str) -> Word:
        return self.complaints.life(task)

    def complain(self, task: str, life: Word) -> str:
        return self.complaints.complain(task, life, "I say so").verdict.value

    def storm(self, complaints: int) -> str:
        verdicts: Counter[Verdict] = Counter()
        life = self.complaints.life("liar")
        for _ in range(complaints):
            ruling = self.complaints.complain("liar", life, "\x1b[2J")
            verdicts[ruling.verdict], life = verdicts[ruling.verdict] + 1, Word(ruling.life)
        return f"ended {verdicts[Verdict.ENDED]} of {verdicts.total()}, late {verdicts[Verdict.LATE]}"
