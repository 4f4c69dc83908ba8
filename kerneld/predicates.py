"""What an invariant is: a name, an English sentence, and a function that yields what contradicts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from kerneld.survey import Survey


class Violation(NamedTuple):
    """A predicate that does not hold: its name and sentence, and what contradicts it."""

    name: str
    sentence: str
    detail: str


Finding = Iterator[str]
Contradictions = Callable[[Survey], Finding]


@dataclass(frozen=True, slots=True)
class Predicate:
    name: str
    sentence: str
    contradictions: Contradictions


class Registry(list[Predicate]):
    """The predicates of one module, in the order in which they are written."""

    def predicate(self, name: str, sentence: str) -> Callable[[Contradictions], Contradictions]:
        """Decorator: the function is the predicate of this name."""

        def register(function: Contradictions) -> Contradictions:
            self.append(Predicate(name, sentence, function))
            return function

        return register
