import pytest

from tests.harness import Machine


@pytest.fixture
def machine() -> Machine:
    """A fresh machine whose invariants are checked after every transaction."""
    return Machine()
