"""The generated tables of layouts say what the code does."""

from __future__ import annotations

import inspect
import re

import pytest

from deploy.layout_manual import BEGIN, END, frame_page, records_page
from hw.ram import Bits, Record, Ref, Word
from kerneld import records
from libsel4py import abi

SECTION = re.compile(r"^## (\w+)$(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


def _records() -> list[type[Record]]:
    classes = [each for _, each in inspect.getmembers(records, inspect.isclass)]
    return [each for each in classes if issubclass(each, Record) and each is not Record]


@pytest.mark.parametrize("record", _records(), ids=lambda record: record.__name__)
def test_every_field_of_a_record_has_its_row(record: type[Record]) -> None:
    sections = dict(SECTION.findall(records_page()))
    text = sections[record.__name__]
    fields = {name: each for name, each in vars(record).items() if isinstance(each, Word | Bits | Ref)}
    assert fields
    for name, field in fields.items():
        assert text.count(f"\n| {field.offset} | `{name}` |") == 1


def test_rows_follow_each_other_by_offset() -> None:
    for name, text in SECTION.findall(records_page()):
        offsets = [int(each) for each in re.findall(r"^\| (\d+) \| `", text, re.MULTILINE)]
        assert offsets == sorted(offsets), name


def test_every_value_of_an_enumeration_has_its_row() -> None:
    page = records_page()
    for state in records.ThreadState:
        assert f"\n| {int(state)} | {state.name} |" in page


def test_every_place_in_the_trap_frame_has_its_row() -> None:
    page = frame_page(BEGIN + END)
    prefixes = ("IPC_", "SUBMIT_", "COMPLETE_", "TASK_", "KERNEL_")
    names = [name for name in vars(abi) if name.startswith(prefixes) and name != "IPC_BUFFER_BYTES"]
    assert len(names) > 15
    for name in names:
        assert page.count(f"\n| {getattr(abi, name):#x} | `{name}` |") == 1
    for name in ("ENTRY_OP", "ENTRY_TAG", "TAIL_CAPS", "COMPLETION_TAG"):
        assert page.count(f"\n| {getattr(abi, name)} | `{name}` |") == 1


def test_the_two_index_lines_share_no_cache_line() -> None:
    page = frame_page(BEGIN + END)
    writers = re.findall(r"^\| (0x4[0-9a-f]{2}) \| `\w+` \| (\w+) \|", page, re.MULTILINE)
    assert {int(offset, 16) // 64 for offset, writer in writers if writer == "task"} == {abi.TASK_LINE // 64}
    assert {int(offset, 16) // 64 for offset, writer in writers if writer == "kernel"} == {abi.KERNEL_LINE // 64}


def test_a_lost_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="has lost a mark"):
        frame_page(f"{BEGIN}only")
