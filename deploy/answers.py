"""What an error is that is an answer, and no bug: told by its type, so that nobody loads all modules that raise one."""

from __future__ import annotations


class AnswerError(Exception):
    """What was asked for cannot be had; the text says why, and what would work."""
