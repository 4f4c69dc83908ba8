"""Random mappings: the rules of frames alone, so that tables grow, and what is mapped moves and goes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.model.mapping_rules import MappingRules
from tests.model.world import PAGE_COUNT, SPACE


class MappingsAgainstSpecification(MappingRules):
    """No other rules, and all pages mapped to begin with."""

    @initialize(fast_path=st.booleans(), order=st.permutations(range(PAGE_COUNT)))
    def begin(self, fast_path: bool, order: list[int]) -> None:  # type: ignore[override]
        super().begin(fast_path)
        self.map_all(order, SPACE)


def test_mappings_agree_with_the_specification() -> None:
    run_state_machine_as_test(MappingsAgainstSpecification, settings=settings.get_profile("default"))


@pytest.mark.slow
def test_mappings_agree_with_the_specification_at_length() -> None:
    run_state_machine_as_test(MappingsAgainstSpecification, settings=settings.get_profile("slow"))
