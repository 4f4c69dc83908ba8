# mypy: disable-error-code="empty-body"
"""Components that cannot leak what they are given, built by who wants to be used, for who wants to be safe.

    constructor = Constructor(meta.constructor())                       # the builder's key
    constructor.program("apps.adviser.main", "…:Adviser", 24, 14)
    constructor.install("mail", "…:Mail", mail)                         # a hole, until a requestor approves of it
    requestor = constructor.seal()                                      # to be handed to whoever asks for it

    requestor = Requestor(endpoint)                                     # the requestor's key
    requestor.holes()                                                   # ["mail"]: who could be told something
    adviser = Adviser(requestor.new(pool, []))                          # NotConfined: it has the hole "mail"

The pattern is KeyKOS' factory and EROS' constructor. A builder installs what each product begins with; behind `seal`
nothing can be added. A *hole* is a capability by which something could get out. What a capability is says the kernel
(IDENTIFY), not who installs it: memory that can only be read is none, all else is. A requestor gives memory of its own,
and has the product made of that: whose other capabilities are new, and the requestor's alone.
"""

from __future__ import annotations

import builtins

import msgspec

from libsel4py.capabilities import Capability, Endpoint, Untyped
from libsel4py.errors import NotEnoughMemory, ServiceError
from libsel4py.interface import Interface, borrows, idempotent, raises
from libsel4py.signature import Word

NAME_BYTES = 32
MOST_PARTS = 8


class ConstructorError(ServiceError):
    """What goes wrong with a constructor. The first argument says what happened."""


class Sealed(ConstructorError):
    """Nothing can be changed any more, since somebody may have been told what is in it."""


class NotSealed(ConstructorError):
    """The constructor has no program yet, so that it cannot be sealed."""


class NotConfined(ConstructorError):
    """There is a hole that the requestor does not accept."""


class BadPart(ConstructorError):
    """What is to be installed is nothing, or its name is taken or none, or there are too many."""


class UnknownImage(ConstructorError):
    """The constructor server's description names no such boot image among its ``images``."""


class TooManyConstructors(ConstructorError):
    """The client has as many constructors as it may have, or the server has no room."""


class Destroyed(ConstructorError):
    """The constructor is gone, or the server was started anew: what it has made goes on."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What a product begins with beside new objects of its own.

    Attributes:
        kind, rights: as the kernel tells them (`libsel4py.lowlevel.identify`). is_hole: something could get out by it.
    """

    name: str
    interface: str
    kind: str
    rights: str
    is_hole: bool


class MetaConstructor(Interface):
    """Makes constructors. Who has it may build."""

    def constructor(self) -> Endpoint:
        """A new `Constructor`. Raises TooManyConstructors."""


class Constructor(Interface):
    """The builder's key."""

    def program(self, image: str, interface: str, memory_bits: int, pool_bits: int) -> None:
        """Say what its products run, what they provide, and log2 of their private memory and of their pool in bytes.

        Raises:
            Sealed, UnknownImage. BadPart: sizes that no task has.
        """

    def install(self, name: str, interface: str, capability: Capability) -> bool:
        """Let each product begin with this capability, under a name; whether it is a hole. Raises Sealed, BadPart."""

    def seal(self) -> Endpoint:
        """The `Requestor`. Nothing can be installed any more. Raises NotSealed."""

    def destroy(self) -> None:
        """The constructor and its requestor's keys are gone; its products are their requestors'."""


class Requestor(Interface):
    """The requestor's key. It tells who asks nothing about others who ask, nor the builder who does."""

    @idempotent
    def program_name(self) -> tuple[str, str]:
        """The boot image that products run, and the interface that they provide."""

    @idempotent
    def parts(self) -> builtins.list[Part]:
        """All that a product begins with beside new objects of its own."""

    @idempotent
    def holes(self) -> builtins.list[str]:
        """The names of the parts by which something could get out. None: its products are confined."""

    @borrows
    def covers(self, name: str, approved: Capability) -> bool:
        """Whether a hole is no more than this capability, of which the requestor approves.

        It is if the kernel says that both are to one object by one badge, and the hole has no right that it has not.

        Raises:
            BadPart: there is no such part.
        """

    @raises(NotEnoughMemory)
    def new(self, pool: Untyped, accepted: builtins.list[str]) -> Endpoint:
        """A product, made of this memory: a capability to what it provides. Taking the memory back destroys it.

        Args:
            accepted: names of holes; any other one is refused.
        Raises:
            NotConfined. NotEnoughMemory: the pool is too small. TooManySessions. InvalidMessage: it is no plain memory.
        """

    def size_bits(self) -> Word:
        """log2 of the bytes that are enough for a product's pool."""
