"""Constructors: components that cannot leak what they are given (`libsel4py.interfaces.constructor`).

Must be given: the grant ``sched-control``, and the boot images that products may run (``images``).

Rules. Who calls is known by badge alone: the builder's and the requestor's keys are this server's endpoint with a badge
each. What is a hole is decided when it is installed, by what the kernel says of the capability in this server's own
slot, which nobody can exchange. A product is made of its requestor's memory (`libsel4py.session`), so what many
requestors want exhausts none of this server's; constructors are counted by builder.
"""

from __future__ import annotations

from typing import Final

from libsel4py import component
from libsel4py.abi import message_info
from libsel4py.badges import Badges
from libsel4py.capabilities import Capability, Endpoint, SchedControl, Untyped
from libsel4py.description import Grant
from libsel4py.environment import Environment
from libsel4py.fault_reports import describe_fault, is_guarded
from libsel4py.interfaces.constructor import (
    Constructor,
    Destroyed,
    MetaConstructor,
    Part,
    Requestor,
    TooManyConstructors,
    UnknownImage,
)
from libsel4py.interfaces.parent import Parent
from libsel4py.lowlevel.machine import Words
from libsel4py.session import Session, Sessions
from libsel4py.signature import Word
from libsel4py.wire import put_failure
from servers.constructor.parts import Contents, Program
from servers.constructor.product import SLOTS, Product, make, pool_bits_for

PER_CLIENT: Final = 16  # constructors
NO_MEMORY: Final[Words] = (message_info(1), 0, 0, 0, 0)


@component
class Main(MetaConstructor, Constructor, Requestor, Parent):
    """The server."""

    def start(self) -> None:
        self._control = SchedControl(self.task.environment.authorities[Grant.SCHED_CONTROL.value])
        self._badges = Badges(self.server.endpoint, self.task)
        self._built: dict[int, Contents] = {}  # by the builder's badge
        self._sealed: dict[int, Contents] = {}  # by the requestor's
        self._products: dict[int, Session[Product]] = {}  # by both of a product's badges
        self._sessions: Sessions[Product] = Sessions(self.task, slots=SLOTS)
        self._key = self.task.slots.allocate()  # of what is on its way to a requestor
        for interface in (Constructor, Requestor, Parent):
            self.server.provide(self, interface)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A product's fault, or a key of what there is no more."""
        session = self._products.get(badge)
        if session is None:
            return put_failure(Destroyed("the constructor of this key is gone"), ())
        if is_guarded(label, words):
            return NO_MEMORY
        self.log.info("a product has ended: %s", describe_fault(label, words))
        self._sessions.end(session)
        return None

    # --- the builder's

    def constructor(self) -> Endpoint:
        owner = self.caller.name
        if sum(each.owner == owner for each in self._built.values()) >= PER_CLIENT:
            raise TooManyConstructors(f"{owner} has {PER_CLIENT} constructors")
        badge = self._badges.new()
        self._built[badge] = Contents(owner)
        self.server.add_client(badge, owner, Constructor)
        return self._badges.directory(badge)

    def program(self, image: str, interface: str, memory_bits: int, pool_bits: int) -> None:
        number = self.task.environment.images.get(image)
        if number is None:
            known = ", ".join(self.task.environment.images) or "none"
            raise UnknownImage(f"{image!r} is no boot image that may be started here; there are {known}")
        self._built[self.caller.badge].set_program(Program(image, number, interface, memory_bits, pool_bits))

    def install(self, name: str, interface: str, capability: Capability) -> bool:
        return self._built[self.caller.badge].install(name, interface, capability)

    def seal(self) -> Endpoint:
        contents = self._built[self.caller.badge]
        contents.seal()
        badge = next((badge for badge, each in self._sealed.items() if each is contents), None)
        if badge is None:
            badge = self._badges.new()
            self._sealed[badge] = contents
            self.server.add_client(badge, f"requestor of {contents.owner}'s", Requestor)
        return self._badges.directory(badge)

    def destroy(self) -> None:
        contents = self._built.pop(self.caller.badge)
        self.server.remove_client(self.caller.badge)
        for badge in [badge for badge, each in self._sealed.items() if each is contents]:
            del self._sealed[badge]
            self.server.remove_client(badge)
        for installed in contents.installed.values():
            self.task.delete(installed.capability)

    # --- the requestor's

    def program_name(self) -> tuple[str, str]:
        program = self._sealed[self.caller.badge].program
        assert program is not None
        return program.image, program.interface

    def parts(self) -> list[Part]:
        return self._sealed[self.caller.badge].parts()

    def holes(self) -> list[str]:
        return self._sealed[self.caller.badge].holes()

    def covers(self, name: str, approved: Capability) -> bool:
        return self._sealed[self.caller.badge].covers(name, approved)

    def size_bits(self) -> Word:
        program = self._sealed[self.caller.badge].program
        assert program is not None
        return Word(pool_bits_for(program))

    def new(self, pool: Untyped, accepted: list[str]) -> Endpoint:
        contents = self._sealed[self.caller.badge]
        contents.ensure_confined(accepted)
        session = self._sessions.open(pool, lambda made: make(self.task, made, contents, self._badges, self._control))
        product = session.state
        self._products[product.parent] = self._products[product.fault] = session
        session.at_end(lambda: self._forget(product))
        self.server.add_client(product.parent, "product", Parent)
        self.task.cnode.delete(self._key)
        key = product.key(self.task, self._key)
        product.start()
        return key

    def _forget(self, product: Product) -> None:
        self.server.remove_client(product.parent)
        for badge in (product.parent, product.fault):
            self._products.pop(badge, None)

    # --- the product's

    def environment(self) -> Environment:
        product = self._products[self.caller.badge].state
        product.forget_parent()
        return product.environment

    def exit(self, code: int) -> None:
        """Nobody has the capability any more by which it could be said."""
