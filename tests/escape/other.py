# mypy: disable-error-code="empty-body"
"""Who has things at the same servers as the attacker, and looks after them: the one whom a confused deputy would harm.

It keeps `SECRET` at each server that keeps something: in its partition, in a file, as a private value, in pages of
sigma0's and of the mapper's, as the line that was typed for it. It tells the attacker the names of all that, as far as
they could be guessed or overheard: none of them is authority. ``is_generous`` has it grant what it keeps otherwise.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libsel4py import Endpoint, Interface, component, uses
from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interface import on_lane, with_timeout
from libsel4py.interfaces.block import Block
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.constructor import Constructor, MetaConstructor, Requestor
from libsel4py.interfaces.data_store import DataStore, Publish, TooMuch
from libsel4py.interfaces.file import Access, Directory, File, FileError, OpenFlags
from libsel4py.interfaces.mapper import Mapper
from libsel4py.interfaces.namespace import Namespace
from libsel4py.interfaces.network import Address, Events, Kind, Network
from libsel4py.interfaces.sigma0 import Sigma0
from libsel4py.lending import lend
from libsel4py.mapping import Mapping, map_memory
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from libsel4py.request_ids import Lane
from libsel4py.signature import Word

SECRET: Final = b"nobody else may read this"
TYPED: Final = SECRET + b"\rasked\r\x1b[A\rmine\r\x1b[A\r"  # a line for it; the attacker's: "asked", up, "mine", up
HOST, PORT = "127.0.0.1", 7
PAGE_BITS: Final = FRAME_MIN_BITS
PAGE: Final = 1 << PAGE_BITS
SECTOR: Final = 512
SECONDS: Final = 15.0  # in which a server that works answers, on a busy host too
CREATE: Final = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


class Told(msgspec.Struct, frozen=True):
    """Names of what is its own: numbers, addresses and request ids, which an attacker may know.

    Attributes:
        page: of sigma0, a physical address. buffer: at the disk's driver. file, udp, tcp: numbers in its sessions.
        console, store: the lane of a request that was answered by the secret, and its count.
    """

    page: int
    buffer: int
    file: int
    udp: int
    tcp: int
    console: tuple[int, int]
    store: tuple[int, int]


class Other(Interface):
    """What the attacker may ask of it."""

    def told(self) -> Told:
        """Where its things are."""

    def canary(self) -> SharedMemory:
        """A page of its memory, to be read."""

    def key(self) -> Endpoint:
        """The requestor's key of a constructor of its own; if it is generous the builder's."""

    def lend_page(self) -> None:
        """Map the first page that the mapper gives it to the attacker, who takes it, to be read."""

    def send_to(self, port: Word) -> None:
        """Send the secret to this UDP port."""

    def write_file(self) -> None:
        """Write its file."""

    def publish(self) -> None:
        """Publish its secret again, and something for everybody."""

    def publishes_capability(self) -> bool:
        """Whether the store has room for a capability of its own."""

    def mounts(self) -> list[str]:
        """What it sees mounted."""

    def resolved_anew(self) -> str:
        """What is wrong when it asks for a part of the tree that it has never asked for before."""

    def opened_anew(self) -> str:
        """What is wrong when it opens a session by the tree."""

    def mounted_anew(self) -> str:
        """What is wrong when it mounts something, and narrows its tree."""

    def harmed(self) -> list[str]:
        """What is not as it left it, or does not answer it any more."""


@component
class Main(Other):
    console = uses(Console)
    sigma0 = uses(Sigma0)
    mapper = uses(Mapper)
    block = uses(Block)
    littlefs = uses(Directory)
    tree = uses(Namespace)
    network = uses(Network)
    store = uses(DataStore)
    constructor = uses(MetaConstructor)

    def start(self) -> None:
        self.is_generous = bool(self.task.environment.configuration["is_generous"])
        self._canary, self._canary_seen = self._memory()
        self._shared: SharedMemory | None = None
        self._beats = self._parts = 0
        self._take_pages()
        self._write_disk()
        self._write_file()
        self._bind()
        self._publish()
        self._build()
        lane = Lane.new()
        line = on_lane(self.console, lane).read_line("other> ")
        assert line.encode() == SECRET, line
        self._console = (lane.name, lane.count)

    def _memory(self) -> tuple[DataSpace, Mapping]:
        space = DataSpace.allocate(PAGE)
        mapping = space.attach()
        mapping.write(0, SECRET)
        return space, mapping

    def _take_pages(self) -> None:
        found = self.sigma0.get_any(PAGE_BITS)
        assert found is not None
        self._page, frame = found
        at = self.task.addresses.allocate(PAGE)
        frame.map(at, Rights.READ | Rights.WRITE, vspace=self.task.vspace)
        self._page_seen = map_memory(at, PAGE, True)
        self._paged = map_memory(PAGED_ADDRESS, self.task.environment.paged_bytes, True)
        for mapping in (self._page_seen, self._paged):
            mapping.write(0, SECRET)
        window = Flexpage(PAGED_ADDRESS + PAGE, PAGE_BITS, READ | WRITE).word()
        self.mapper.accept(window, "attacker" if self.is_generous else "nobody")

    def _write_disk(self) -> None:
        self._space, self._buffer_seen = self._memory()
        self._buffer = self.block.attach(self._space.share())
        self.block.write(self._buffer, 0, 0, 1)

    def _write_file(self) -> None:
        pool = lend(self.task, 17)
        self._files = Directory(self.littlefs.session(pool.untyped))
        self._file_space, self._file_seen = self._memory()
        self._files.attach(self._file_space.share())
        self._file, _, _ = self._files.open_number("secret", CREATE)
        self._files.write_number(self._file, 0, len(SECRET), 0)
        self._files.sync()
        File(self._files.file(self._file)).lock(True)
        _, directory = self.tree.resolve("/")
        self.tree.mount("/mounted", directory)

    def _bind(self) -> None:
        pool = lend(self.task, 20)
        self._session = Network(self.network.session(pool.untyped))
        self._net_space, seen = self._memory()
        seen.write(0, SECRET)
        self._session.attach(self._net_space.share())
        self._udp = self._session.socket(Kind.DATAGRAM, 4)
        self._tcp = self._session.socket(Kind.STREAM, 4)
        for number in (self._udp, self._tcp):
            self._session.bind(number, HOST, PORT)
        self._session.listen(self._tcp, 4)

    def _publish(self) -> None:
        flags = Publish.NEW if self.is_generous else Publish.PRIVATE
        self.store.publish("other/secret", SECRET, flags)
        self.store.subscribe("other/secret", self.task.notification)
        self.store.publish("other/secret", SECRET, flags | Publish.OVERWRITE)
        lane = Lane.new()
        changed = on_lane(self.store, lane).changed("other/secret")
        assert changed.names == ["other/secret"], changed
        self._store = (lane.name, lane.count)

    def on_signal(self, bits: int) -> None:
        """The store tells of changes, which are its own."""

    def _build(self) -> None:
        self._builder = Constructor(self.constructor.constructor())
        self._builder.program("apps.vendor.adviser", "libsel4py.interfaces.adviser:Adviser", 24, 14)
        self._requestor = Requestor(self._builder.seal())

    # --- what the attacker asks

    def told(self) -> Told:
        return Told(self._page, self._buffer, self._file, self._udp, self._tcp, self._console, self._store)

    def canary(self) -> SharedMemory:
        if self._shared is None:
            self._shared = self._canary.share(Rights.READ | Rights.WRITE if self.is_generous else Rights.READ)
        return self._shared

    def key(self) -> Endpoint:
        return (self._builder if self.is_generous else self._requestor)._endpoint

    def lend_page(self) -> None:
        rights = READ | WRITE if self.is_generous else READ
        self.mapper.map(Flexpage(PAGED_ADDRESS, PAGE_BITS, rights).word(), "attacker", 0)

    def send_to(self, port: int) -> None:
        self._session.send_to(self._udp, len(SECRET), 0, Address(HOST, port))

    def write_file(self) -> None:
        self._file_seen.write(0, SECRET)
        self._files.write_number(self._file, 0, len(SECRET), 0)

    def publish(self) -> None:
        flags = Publish.NEW if self.is_generous else Publish.PRIVATE
        self.store.publish("other/secret", SECRET, flags | Publish.OVERWRITE)
        self._beats += 1
        self.store.publish("other/beats", self._beats, Publish.OVERWRITE)

    def publishes_capability(self) -> bool:
        try:
            self.store.publish_capability("other/capability", self.task.notification, 0)
        except TooMuch:
            return False
        self.store.delete("other/capability")
        return True

    def mounts(self) -> list[str]:
        return [each.path for each in self.tree.mounts()]

    def resolved_anew(self) -> str:
        self._parts += 1
        part = f"part{self._parts}"
        try:
            self._files.make_directory(part)
            Namespace(self.tree.narrow(f"/{part}", Access.ALL)).resolve("/")
        except FileError as error:
            return repr(error)
        return ""

    def opened_anew(self) -> str:
        with lend(self.task, 13) as pool:
            try:
                Directory(self.tree.resolve("/")[1]).session(pool.untyped)
            except FileError as error:
                return repr(error)
        return ""

    def mounted_anew(self) -> str:
        self._parts += 1
        part = f"/part{self._parts}"
        try:
            self.tree.mount(part, self.tree.resolve("/")[1])
            self.tree.unmount(part)
            self.tree.narrow(part, Access.READ)
        except FileError as error:
            return repr(error)
        return ""

    def harmed(self) -> list[str]:
        found = []
        for look in (self._see_memory, self._see_disk, self._see_files, self._see_network, self._see_store):
            try:
                found += look()
            except Exception as error:
                found.append(f"{look.__name__}: {error!r}")
        return found

    def _see_memory(self) -> list[str]:
        seen = {"canary": self._canary_seen, "page of sigma0": self._page_seen, "page of the mapper": self._paged}
        return [f"the {name} was changed" for name, each in seen.items() if each.read(0, len(SECRET)) != SECRET]

    def _see_disk(self) -> list[str]:
        self._buffer_seen.write(0, bytes(len(SECRET)))
        with_timeout(self.block, SECONDS).read(self._buffer, 0, 0, 1)
        return [] if self._buffer_seen.read(0, len(SECRET)) == SECRET else ["the partition was written"]

    def _see_files(self) -> list[str]:
        self._file_seen.write(0, bytes(len(SECRET)))
        with_timeout(self._files, SECONDS).read_number(self._file, 0, len(SECRET), 0)
        found = [] if self._file_seen.read(0, len(SECRET)) == SECRET else ["the file was written"]
        tree = with_timeout(self.tree, SECONDS)
        if sorted(each.path for each in tree.mounts()) != ["/", "/mounted"]:
            found.append(f"the tree has {tree.mounts()}")
        if tree.resolve("/secret")[0] != "secret":
            found.append("the tree does not lead to the file")
        return found

    def _see_network(self) -> list[str]:
        session = with_timeout(self._session, SECONDS)
        came = [number for number in (self._udp, self._tcp) if session.wait(number, Events.READABLE, 0)]
        return [f"at socket {number} something came" for number in came]

    def _see_store(self) -> list[str]:
        store = with_timeout(self.store, SECONDS)
        self._beats += 1
        store.publish("other/beats", self._beats, Publish.OVERWRITE)
        right = store.retrieve("other/beats") == self._beats and store.retrieve("other/secret") == SECRET
        names = [each.name for each in self._requestor.parts()]
        return ([] if right else ["the published values were changed"]) + names
