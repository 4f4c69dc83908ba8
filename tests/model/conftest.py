"""Hypothesis profiles: `default` is small, `slow` is large. In CI both take the same examples every time."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

IN_CI = os.environ.get("CI", "").lower() == "true"
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
COMMON = settings(phases=PHASES, deadline=None, derandomize=IN_CI, print_blob=True, suppress_health_check=CHECKS)

settings.register_profile("default", parent=COMMON, max_examples=60, stateful_step_count=30)
settings.register_profile("slow", parent=COMMON, max_examples=300, stateful_step_count=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Exploring at length takes longer than other tests may."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.timeout(3600))
