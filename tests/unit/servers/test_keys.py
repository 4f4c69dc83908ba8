"""Bytes to keys: every key, and sequences that are split anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.console.keys import CONTROLS, ESCAPES, LONGEST_ESCAPE, Key, Keys


def keys(*pieces: bytes) -> list[Key]:
    reader = Keys()
    return [key for piece in pieces for key in reader.feed(piece)]


def text(*pieces: bytes) -> str:
    return "".join(key.text for key in keys(*pieces))


@pytest.mark.parametrize(("character", "command"), CONTROLS.items())
def test_a_control_character_is_its_command(character: str, command: str) -> None:
    assert keys(character.encode()) == [Key(command=command)]


@pytest.mark.parametrize(("sequence", "command"), ESCAPES.items())
def test_an_escape_sequence_is_its_command_wherever_it_is_split(sequence: str, command: str) -> None:
    whole = b"\x1b" + sequence.encode()
    for at in range(len(whole) + 1):
        assert keys(b"a" + whole[:at], whole[at:] + b"b") == [Key(text="a"), Key(command=command), Key(text="b")]


@pytest.mark.parametrize(
    "sequence",
    [b"\x1b[1;5C", b"\x1b[200~", b"\x1b[<0;10;20M", b"\x1b[?25h", b"\x1b[[A", b"\x1bOP", b"\x1bx", b"\x1b[ q"],
)
def test_a_sequence_without_meaning_is_swallowed_whole(sequence: bytes) -> None:
    assert keys(sequence + b"z") == [Key(text="z")]
    assert keys(*(sequence[at : at + 1] for at in range(len(sequence))), b"z") == [Key(text="z")]


def test_a_control_character_ends_a_sequence_and_is_itself() -> None:
    assert keys(b"\x1b\r") == [Key(command="enter")]
    assert keys(b"\x1b[1\x03") == [Key(command="interrupt")]
    assert keys(b"\x1b[1\x1b[A") == [Key(command="up")]
    assert keys(b"\x1b\x1b[B") == [Key(command="down")]


def test_a_sequence_that_never_ends_swallows_no_more_than_its_limit() -> None:
    assert text(b"\x1b[" + b"1" * 500) == "1" * (502 - LONGEST_ESCAPE - 1)


def test_characters_of_several_bytes_are_put_together() -> None:
    typed = "aé€😀".encode()
    assert text(*(typed[at : at + 1] for at in range(len(typed)))) == "aé€😀"


def test_what_is_no_utf_8_is_shown_as_such() -> None:
    assert text(b"a\xff\xc3", b"b\xed\xa0\x80c") == "a�" + "�b" + "���c"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_each_line_end_is_one_enter(end: bytes) -> None:
    enter, a = Key(command="enter"), Key(text="a")
    assert keys(end + end + b"a") == [enter, enter, a]
    assert keys(*(bytes([byte]) for byte in end * 2 + b"a")) == [enter, enter, a]


def test_other_control_characters_are_keys_that_mean_nothing() -> None:
    assert keys(b"\x00\x1a\t\xc2\x85") == [Key()] * 4


@given(st.lists(st.binary(max_size=8), max_size=20))
def test_how_bytes_are_split_makes_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert keys(*pieces) == keys(whole) == keys(*(bytes([byte]) for byte in whole))
