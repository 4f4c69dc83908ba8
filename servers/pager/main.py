"""The pager of tasks whose description says ``pager = "…"`` (`libsel4py.pagers.service` says what it does)."""

from __future__ import annotations

from libsel4py import component
from libsel4py.pagers.service import PagerServer


@component
class Main(PagerServer):
    """The pager."""
