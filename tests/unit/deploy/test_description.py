"""Good descriptions, and the parts that read them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.description import load
from deploy.memory import RAM_STEP, demands, fits, ram_that_fits
from deploy.problems import BadDescription, suggest
from deploy.quantities import format_duration, format_size, parse_duration, parse_size
from deploy.scanner import line_numbers
from deploy.sections import RAM_LOW, TaskDraft
from libsel4py.abi import Rights
from libsel4py.description import CorruptDescription, Grant, Restart, System, unpack
from libsel4py.environment import ChannelUse

MANIFESTS = Path(__file__).parents[2] / "manifests"
MIB = 1 << 20


def read(tmp_path: Path, text: str) -> System:
    path = tmp_path / "some-system.toml"
    path.write_text(f'[system]\npaths = ["{MANIFESTS}"]\n{text}')
    return load(path).system


ECHO = '[task.echo]\nimage = "parts.echo"\nprovides = { echo = "parts.interfaces:Echo" }\n'


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    system = read(tmp_path, ECHO)
    task = system.task("echo")
    assert (system.name, system.ram) == ("some-system", 256 * MIB)
    assert (task.priority, task.max_priority, task.memory, task.pool) == (100, 100, 32 * MIB, MIB)
    assert (task.budget_us, task.period_us, task.restart, task.essential) == (10_000, 10_000, Restart.NEVER, False)


def test_everything_that_is_written_arrives(tmp_path: Path) -> None:
    system = read(
        tmp_path,
        ECHO + '[machine.devices.uart0]\ntype = "uart"\nport = 0x2F8\nirq = 3\nbackend = "pty"\n'
        '[task.driver]\nimage = "parts.echo"\npriority = 7\nmax_priority = 9\nmemory = "4M"\npool = "64K"\n'
        'budget = "1ms"\nperiod = "10ms"\nthreads = 2\nrestart = "on-failure"\nessential = true\n'
        'grants = ["domain"]\ndevices = { uart = "uart0" }\n'
        'config = { speed = 9600, list = [1.5, "x"], deep = { flag = true } }\n'
        'uses = { peer = { from = "echo.echo", rights = "rwg", badge = 77, interface = "parts.interfaces:Echo" } }\n',
    )
    device, task = system.device("uart0"), system.task("driver")
    assert (device.first_port, device.last_port, device.irq) == (0x2F8, 0x2FF, 3)
    assert (task.priority, task.max_priority, task.memory, task.pool) == (7, 9, 4 * MIB, 64 << 10)
    assert (task.budget_us, task.period_us, task.threads, task.grants) == (1000, 10_000, 2, (Grant.DOMAIN,))
    assert task.config == {"speed": 9600, "list": [1.5, "x"], "deep": {"flag": True}}
    use = task.uses[0]
    assert (use.task, use.provided, use.badge) == ("echo", "echo", 77)
    assert use.rights == Rights.READ | Rights.WRITE | Rights.GRANT
    assert unpack(system.pack()) == system


def test_tasks_stand_in_start_order_and_else_as_written(tmp_path: Path) -> None:
    text = "".join(
        f'[task.{name}]\nimage = "parts.echo"\nprovides = {{ x = "parts.interfaces:Echo" }}\nuses = {{ {uses} }}\n'
        for name, uses in (
            ("z", ""),
            ("a", 'one = "m.x"'),
            ("m", 'one = "k.x", back = { from = "a.x", late = true }'),
            ("k", ""),
        )
    )
    assert [task.name for task in read(tmp_path, text).tasks] == ["z", "k", "m", "a"]


def test_badges_differ_between_all_clients_of_a_task(tmp_path: Path) -> None:
    clients = "".join(
        f'[task.c{number}]\nimage = "parts.echo"\nuses = {{ echo = {use} }}\n'
        for number, use in enumerate(('"echo.echo"', '{ from = "echo.echo", badge = 1 }', '"echo.echo"'))
    )
    two = ECHO.replace(" }", ', second = "parts.interfaces:Names" }')
    other = '[task.other]\nimage = "parts.echo"\nuses = { second = "echo.second" }\n'
    system = read(tmp_path, two + clients + other)
    assert [client.use.badge for client in system.clients("echo", "echo")] == [2, 1, 3]
    assert [client.use.badge for client in system.clients("echo", "second")] == [4]


def test_images_name_root_first_and_each_module_once(tmp_path: Path) -> None:
    system = read(tmp_path, ECHO + '[task.two]\nimage = "parts.echo"\n')
    assert system.images == ("servers.root.main", "parts.echo")
    assert system.image_index("parts.echo") == 1


def test_unknown_names_are_told_with_the_known_ones(tmp_path: Path) -> None:
    system = read(tmp_path, ECHO)
    with pytest.raises(KeyError, match="there are echo"):
        system.task("eco")
    with pytest.raises(KeyError, match="there are none"):
        system.device("uart0")


def test_all_problems_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    with pytest.raises(BadDescription) as refusal:
        read(tmp_path, '[task.a]\nimage = "no.such"\npriority = 999\n[task.b]\nuses = { x = "c.d" }\n')
    assert [problem.line for problem in refusal.value.problems] == [4, 5, 6, 7]


@given(st.binary(max_size=200))
def test_unpack_refuses_any_other_bytes(data: bytes) -> None:
    with pytest.raises(CorruptDescription):
        unpack(data)


def test_unpack_refuses_nesting_without_end() -> None:
    with pytest.raises(CorruptDescription):
        unpack(b"\x84\xa4name" + b"\x91" * 100_000)


# --- positions ---------------------------------------------------------------------------------------------

SCANNED = '''\
# comment = 1
[system]
name = "a # no comment"
text = """
[not.a.table]
x = "\\""" """"
'quoted key'."b\\u0065" = 'c:\\' # comment
[task . 'a b' . config]
x.y = { a = 1, b = [1, "q]", # comment
 3, { z = 1 }] }
[[row]]
k = 1
[[row]]
k = 2979-05-27 07:32:00
[row.sub]
z = +1e3'''


def test_scanner_finds_every_key() -> None:
    lines = line_numbers(SCANNED)
    assert {path: line for path, line in lines.items() if len(path) == 1} == {
        ("system",): 2,
        ("task",): 8,
        ("row",): 11,
    }
    assert lines["system", "text"] == 4
    assert lines["system", "quoted key", "be"] == 7
    assert lines["task", "a b", "config", "x", "y", "b", 2] == 10
    assert lines["task", "a b", "config", "x", "y", "b", 3, "z"] == 10
    assert (lines["row", 0, "k"], lines["row", 1, "k"], lines["row", 1, "sub", "z"]) == (12, 14, 16)


def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path}.union(*(paths(each, (*path, key)) for key, each in inner))


@pytest.mark.parametrize("text", [SCANNED, *(path.read_text() for path in sorted(MANIFESTS.glob("bad/use-*.toml")))])
def test_scanner_finds_exactly_the_paths_that_tomllib_does(text: str) -> None:
    assert set(line_numbers(text)) == paths(tomllib.loads(text))


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("ab\"'\\#[]{}=,\n.", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab. \"'", min_size=1, max_size=4), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc-. \"'\\", min_size=1, max_size=5), VALUES, max_size=5))
def test_scanner_keeps_up_with_generated_documents(document: dict[str, object]) -> None:
    def write(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{write(key)} = {write(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[\n" + ",\n".join(map(write, value)) + "]"
        return msgspec.json.encode(value).decode()

    text = "".join(f"# [x]\n{write(key)} = {write(value)}\n" for key, value in document.items())
    assert set(line_numbers(text)) == paths(tomllib.loads(text))


# --- quantities and memory ---------------------------------------------------------------------------------


@given(st.integers(1, 1 << 30))
def test_sizes_and_times_read_as_they_are_written(number: int) -> None:
    assert parse_size(format_size(number << 10)) == number << 10
    assert parse_duration(format_duration(number)) == number


@pytest.mark.parametrize("text", ["", "M", "1", "1.5M", "-1M", "1m", "1 M", "0x1M", "١M"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_size(text)


def draft(memory: int, pool: int, threads: int) -> TaskDraft:
    return TaskDraft("a", (), "", 0, 0, memory, pool, 20, 20, 10, threads, Restart.NEVER, False, (), (), (), (), (), {})


MEMORY = st.integers(22, 27).map(lambda bits: 1 << bits)
TASKS = st.lists(st.builds(draft, MEMORY, st.sampled_from([0, 4096, MIB]), st.integers(0, 3)), max_size=8)


@given(TASKS)
def test_packing_places_what_it_says_it_does(tasks: list[TaskDraft]) -> None:
    """The smallest RAM that fits is found, holds the sum, and one step less does not do."""
    ram = ram_that_fits(tasks)
    assert fits(ram, tasks)
    assert sum(demands(tasks)) < ram
    assert ram == RAM_LOW or not fits(ram - RAM_STEP, tasks)


def test_suggestions() -> None:
    assert suggest("priorty", ["priority", "pool"]) == "did you mean 'priority'?"
    assert suggest("sched", ["sched-control", "domain"]) == "did you mean 'sched-control'?"
    assert suggest("x", ["b", "a"]) == "there is a, b"
    assert suggest("x", []) == "there is none"


@pytest.mark.parametrize("use", list(ChannelUse))
def test_a_connection_says_whether_it_goes_by_a_channel(tmp_path: Path, use: ChannelUse) -> None:
    client = (
        f'[task.client]\nimage = "parts.echo"\nuses = {{ echo = {{ from = "echo.echo", channel = "{use.value}" }} }}\n'
    )
    system = read(tmp_path, ECHO + client)
    assert system.task("client").uses[0].channel is use
    assert unpack(system.pack()) == system


def test_a_connection_goes_by_a_channel_when_it_is_called_often_unless_it_says_otherwise(tmp_path: Path) -> None:
    system = read(tmp_path, ECHO + '[task.client]\nimage = "parts.echo"\nuses = { echo = "echo.echo" }\n')
    assert system.task("client").uses[0].channel is ChannelUse.AUTO
