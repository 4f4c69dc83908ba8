"""No test fails because this host had others' work to do: here, the limits that Hypothesis brings by itself."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def test_no_example_of_a_property_is_timed() -> None:
    now = settings()
    assert now.deadline is None
    assert HealthCheck.too_slow in now.suppress_health_check
