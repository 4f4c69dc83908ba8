"""What a server keeps beyond its process: one value, and the answers to remembered requests, in one journal.

Both are durable together: an answer is remembered in the record that has the value as it was when the method ended, and
the client is answered after that. So a repeated request is either carried out for the first time, or answered as it
was; there is no third.

Rules. A client is known by its badge, which the kernel delivers, and by its name; the rest of a request's id is its
own word, which can make it get its own former answers, and nothing else. What is remembered is bounded: `MOST_LANES`
answers of each client, and together half of the journal, and no more than the value leaves room for; beyond that
whoever has most loses its oldest. From then on a repeated request of that client's of which there is no record may have
been carried out, or not. Without a journal all this lasts as long as the process. What was repeated and may be
forgotten is refused: `RequestForgotten`. What is repeated while its former self is under way is not carried out beside
it, and gets the answer of that one, once there is one.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import msgspec

from libsel4py.abi import WORD_MASK
from libsel4py.errors import InvalidMessage, RequestForgotten
from libsel4py.journal import CorruptJournal, Journal, JournalFull, Memory
from libsel4py.lowlevel.machine import Answer
from libsel4py.request_ids import REPEATED
from libsel4py.signature import Method
from libsel4py.wire import EMPTY, UNDECODABLE, Outcome, pack_failure, put

Value = TypeVar("Value")

MOST_LANES: Final = 64  # of one client: a task has 64 threads, and each makes one call at a time
MOST_NAMES: Final = 16  # of clients that have lost an answer; beyond them all count as such
EVERYBODY: Final = ""
LONGER_HEAD: Final = 2  # bytes: that of a packed list of 16 and more, behind one of fewer
_log = logging.getLogger(__name__)
_encode: Final = msgspec.msgpack.Encoder().encode


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The last answer on a client's lane. ``payload``: a word, packed bytes, or nothing."""

    client: str
    badge: int
    lane: int
    count: int
    label: int
    outcome: int
    payload: bytes | int | None

    def answer(self) -> Answer:
        """As it was given at first."""
        return _answer(self.outcome, self.payload)

    @property
    def size(self) -> int:
        """About how many bytes of a journal it takes."""
        return 64 + len(self.client) + (len(self.payload) if isinstance(self.payload, bytes) else 0)


def _answer(outcome: int, payload: bytes | int | None) -> Answer:
    match payload:
        case bytes(data) if outcome == Outcome.OK:
            return data
        case bytes(data):
            return put(outcome, data, "a kept answer")
        case int(word):
            return (1, word & WORD_MASK, 0, 0, 0)
    return EMPTY


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """One commit: the value if it has changed, and answers; of a checkpoint, who has lost some as well."""

    value: bytes | None
    answers: list[KeptAnswer]
    losers: list[str] = []


_decode_record: Final = msgspec.msgpack.Decoder(_Record).decode


class Kept(Generic[Value]):
    """A value that is there again in the task's next life, as it was when it was last committed.

    A remembered method's end commits it, with the method's answer. Others say so: ``commit()``. A server of several
    threads changes it, and ends its remembered methods, under ``lock``.
    """

    def __init__(self, keeper: Keeper, kind: Callable[[], Value]) -> None:
        self._keeper = keeper
        self._kind = kind
        self._decode: Callable[[bytes], Value] = msgspec.msgpack.Decoder(cast(Any, kind)).decode
        self.lock = keeper.lock
        self.value: Value = self.decoded(keeper.value)

    @property
    def most_bytes(self) -> int | None:
        """What value and answer together can be packed to at most; None without ``state``."""
        return self._keeper.most_bytes

    def commit(self, then: Callable[[], None] | None = None) -> None:
        """Make the value durable as it is now, and do ``then`` what must not be done before.

        In a remembered method both wait for its end, so that the change is not durable without its answer.

        Raises:
            JournalFull: it is too large for the task's ``state``; it is again what it was at the last commit. In a
                remembered method its end raises that, to the client.
        """
        request = current.request
        if request is not None and request.keeper is self._keeper and request.deferred is None:
            request.then += [then] if then is not None else []
            return
        self._keeper.commit()
        if then is not None:
            then()

    def decoded(self, data: bytes) -> Value:
        """The value that was kept as these bytes; a fresh one, if there are none or they make none."""
        if data:
            try:
                return self._decode(data)
            except UNDECODABLE as error:
                _log.error("the kept value is no %s, it begins anew: %s", self._kind, error)
        return self._kind()


class Owed(Protocol):
    """A reply that is owed, to a request or to whoever has sent it once more. See `libsel4py.context.OwedReply`."""

    def relay(self, answer: Answer) -> None: ...
    def fail(self, error: Exception) -> None: ...
    def hand_over(self, heir: Any) -> bool: ...


class Request:
    """A remembered request that is being carried out.

    Attributes:
        deferred: the reply, if its answer comes later. then: what is to be done when it is durable. heir: who hears the
            answer too.
    """

    __slots__ = ("client", "count", "deferred", "heir", "keeper", "key", "method", "then")

    def __init__(self, keeper: Keeper, method: Method, client: str, key: tuple[int, int], count: int) -> None:
        self.keeper = keeper
        self.method = method
        self.client = client
        self.key = key
        self.count = count
        self.deferred: Owed | None = None
        self.then: list[Callable[[], None]] = []
        self.heir: Owed | None = None

    def complete(self, answer: Answer) -> None:
        """Remember what it is answered, and commit. Raises JournalFull: it is not, and the value is as it was."""
        match answer:
            case (1, int(word), 0, 0, 0):
                self._remember(Outcome.OK, word)
            case tuple():
                self._remember(Outcome.OK, None)
            case bytes() | int():
                self._remember(Outcome.OK, answer)

    def fail(self, error: Exception) -> None:
        """As `complete`, for an exception."""
        self._remember(*pack_failure(error, self.method.raises))

    def _remember(self, outcome: Outcome, payload: bytes | int | None) -> None:
        try:
            self.keeper.remember(self, outcome, payload)
            then, self.then = self.then, []
            for action in then:
                action()
        except Exception as error:
            if self.heir is not None:
                heir, self.heir = self.heir, None
                heir.fail(error)
            raise
        if self.heir is not None:
            heir, self.heir = self.heir, None
            heir.relay(_answer(outcome, payload))


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A request that was sent again while it is carried out."""

    request: Request

    def wait(self, heir: Owed) -> None:
        """Have it answered as the request will be, or was. One at a time waits so: its client's last life."""
        deferred = self.request.deferred
        if deferred is None or not deferred.hand_over(heir):
            self.request.keeper.bequeath(self.request, heir)


class _PerThread(threading.local):
    request: Request | None = None


#: The remembered request whose method the calling thread runs.
current: Final = _PerThread()


class Keeper:
    """See the module. Made by `libsel4py.state.keeper_of`.

    Args:
        journal: None if the task has no state.
    Attributes:
        value: the kept value's bytes at the last commit. lock: held while something is committed.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.lock = threading.RLock()
        self.value = b""
        self._journal = journal
        self._forgets = journal is None
        self._kept: Kept[Any] | None = None
        self._answers: dict[tuple[int, int], KeptAnswer] = {}  # by badge and lane, the oldest first
        self._bytes = 0
        self._lanes: dict[str, dict[tuple[int, int], None]] = {}  # by client, the oldest first
        self._sizes: Counter[str] = Counter()  # bytes of each client's
        self._losers: set[str] = set()  # clients of whom an answer was dropped for want of room
        self._under_way: dict[tuple[int, int], Request] = {}
        for data in journal.records if journal is not None else ():
            record = _decode_record(data)
            self.value = self.value if record.value is None else record.value
            self._losers.update(record.losers)
            for answer in record.answers:
                self._add(answer)

    @classmethod
    def open(cls, memory: Memory) -> Keeper:
        """What former lives kept in this memory; if that is damaged, an error in the log, and nothing."""
        try:
            journal = Journal(memory)
            if journal.mended:
                _log.warning("of what this task kept %d bits had been flipped, and are flipped back", journal.mended)
            return cls(journal)
        except (CorruptJournal, *UNDECODABLE) as error:
            _log.error("what this task kept is lost, it begins anew: %s", error)
            # The record is there before the damage is gone: whatever ends this life, the next one knows of it.
            return cls(Journal.fresh(memory, _encode(_Record(None, [], [EVERYBODY]))))

    @property
    def most_bytes(self) -> int | None:
        """See `Kept`."""
        return self._journal.most_bytes if self._journal is not None else None

    def keep(self, kind: Callable[[], Value]) -> Kept[Value]:
        """The kept value; ``kind()`` where there is none yet. Raises ValueError: it is asked for twice."""
        if self._kept is not None:
            raise ValueError("a task keeps one value: make it a msgspec.Struct, or a dict, of all that is to be kept")
        self._kept = kept = Kept(self, kind)
        return kept

    def begin(self, method: Method, client: str, badge: int, lane: int, count: int) -> Request | UnderWay | Answer:
        """A request to carry out; or, if that was done, its answer; or, if it is repeated, that it is being done.

        Raises:
            InvalidMessage: the client has gone on from this request, or it is under way. RequestForgotten: it was sent
                before, to a life that left no record of anything, or whose record of it may have been dropped.
        """
        repeated, count, key = bool(count & REPEATED), count & ~REPEATED, (badge, lane)
        with self.lock:
            kept = self._answers.get(key)
            if kept is not None and kept.count >= count:
                if kept.count > count or kept.label != method.label:
                    raise InvalidMessage(
                        f"{method.full_name}: this request's id is that of another, or of an older one"
                    )
                return kept.answer()
            former = self._under_way.get(key)
            if former is not None and former.count >= count:
                if repeated and former.count == count and former.method.label == method.label:
                    return UnderWay(former)
                raise InvalidMessage(
                    f"{method.full_name}: this request is under way, or the client has gone on from it"
                )
            if repeated and (self._forgets or (kept is None and not self._losers.isdisjoint((client, EVERYBODY)))):
                raise RequestForgotten(method.full_name)
            self._under_way[key] = request = Request(self, method, client, key, count)
        return request

    def bequeath(self, request: Request, heir: Owed) -> None:
        """See `UnderWay`."""
        with self.lock:
            if self._under_way.get(request.key) is request:
                former, request.heir = request.heir, heir
                kept = None
            else:
                former, kept = heir, self._answers.get(request.key)
        if former is None:
            return
        if kept is not None and kept.count == request.count:
            former.relay(kept.answer())
        else:
            former.fail(RequestForgotten(request.method.full_name))

    def remember(self, request: Request, outcome: Outcome, payload: bytes | int | None) -> None:
        """Commit an answer with the value; for a request that the client has gone on from, the value alone."""
        with self.lock:
            answers = []
            if self._under_way.get(request.key) is request:
                del self._under_way[request.key]
                badge, lane = request.key
                label = request.method.label
                answers = [KeptAnswer(request.client, badge, lane, request.count, label, outcome, payload)]
            self.commit(answers)

    def commit(self, answers: list[KeptAnswer] | None = None) -> None:
        """Make the value and answers durable, together. Raises JournalFull."""
        with self.lock:
            answers = answers or []
            value = _encode(self._kept.value) if self._kept is not None else b""
            changed = value if value != self.value else None
            if changed is None and not answers:
                return
            try:
                self._write(value, changed, answers)
            except JournalFull:
                if self._kept is not None:
                    self._kept.value = self._kept.decoded(self.value)
                raise
            self.value = value
            for answer in answers:
                self._add(answer)

    def _write(self, value: bytes, changed: bytes | None, answers: list[KeptAnswer]) -> None:
        journal = self._journal
        if journal is None:
            return
        record = _encode(_Record(changed, answers))
        if journal.has_room(len(record)):
            journal.append(record)
            return
        least = len(self._checkpoint(value, answers))
        if least > journal.most_bytes:
            raise JournalFull(
                f"the value, and what is answered, take {least} bytes, and the state has {journal.most_bytes}"
            )
        superseded = {(answer.badge, answer.lane) for answer in answers}
        kept = {key: answer for key, answer in self._answers.items() if key not in superseded}
        losers, dropped = self._losers, set[tuple[int, int]]()
        record = self._checkpoint(value, [*kept.values(), *answers])
        if len(record) > journal.most_bytes:
            losers, dropped = self._chosen(kept, len(record) - journal.most_bytes)
            left = [answer for key, answer in kept.items() if key not in dropped]
            record = _encode(_Record(value, [*left, *answers], sorted(losers)))
        journal.checkpoint(record)
        # What the journal has is known here too, whatever was refused before this line.
        self._losers = losers
        for key in dropped:
            self._drop(key)

    def _checkpoint(self, value: bytes, answers: list[KeptAnswer]) -> bytes:
        return _encode(_Record(value, answers, sorted(self._losers)))

    def _chosen(self, kept: dict[tuple[int, int], KeptAnswer], excess: int) -> tuple[set[str], set[tuple[int, int]]]:
        """Which of these answers are dropped to make a checkpoint so many bytes shorter, and who has lost some then."""
        losers, dropped = set(self._losers), set[tuple[int, int]]()
        oldest: dict[str, deque[tuple[tuple[int, int], int]]] = {}
        sizes: Counter[str] = Counter()
        for key, answer in kept.items():
            size = len(_encode(answer))
            oldest.setdefault(answer.client, deque()).append((key, size))
            sizes[answer.client] += size
        excess += LONGER_HEAD
        while excess > 0 and sizes:
            client = _largest(sizes)
            key, size = oldest[client].popleft()
            dropped.add(key)
            sizes[client] -= size
            if not oldest[client]:
                del sizes[client]
            before = len(losers)
            losers.add(loser := _loser(losers, client))
            excess += len(_encode(loser)) * (len(losers) - before) - size
        return losers, dropped

    # --- answers, within their bounds ---------------------------------------------------------------------------

    def _add(self, answer: KeptAnswer) -> None:
        self._supersede(answer)
        self._answers[answer.badge, answer.lane] = answer
        self._bytes += answer.size
        self._sizes[answer.client] += answer.size
        lanes = self._lanes.setdefault(answer.client, {})
        lanes[answer.badge, answer.lane] = None
        if len(lanes) > MOST_LANES:
            self._drop_oldest(answer.client)
        while self._journal is not None and self._bytes > self._journal.most_bytes // 2 and len(self._answers) > 1:
            self._drop_oldest(_largest(self._sizes))

    def _supersede(self, answer: KeptAnswer) -> None:
        """Its client has gone on to it from the former one on its lane."""
        key = (answer.badge, answer.lane)
        if key in self._answers:
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        answer = self._answers.pop(key)
        self._bytes -= answer.size
        self._sizes[answer.client] -= answer.size
        del self._lanes[answer.client][key]
        if not self._lanes[answer.client]:
            del self._lanes[answer.client], self._sizes[answer.client]

    def _drop_oldest(self, client: str) -> None:
        self._losers.add(_loser(self._losers, client))
        self._drop(next(iter(self._lanes[client])))


def _loser(losers: set[str], client: str) -> str:
    """As what a client is noted that loses an answer."""
    return client if len(losers) < MOST_NAMES else EVERYBODY


def _largest(sizes: Counter[str]) -> str:
    """Who has most; of several, the same one in each life."""
    return max(sizes, key=lambda client: (sizes[client], client))
