"""Every scenario there is: the table, once all that join it have been imported."""

from __future__ import annotations

from typing import Final

from tests.model import (
    channel_scenarios,
    fault_scenarios,
    machine_scenarios,
    mapping_scenarios,
    notice_scenarios,
    thread_scenarios,
)
from tests.model.scenarios import TABLE, Scenario

SOURCES: Final = (
    channel_scenarios,
    fault_scenarios,
    machine_scenarios,
    mapping_scenarios,
    notice_scenarios,
    thread_scenarios,
)
SCENARIOS: Final[tuple[Scenario, ...]] = tuple(TABLE.rows)
