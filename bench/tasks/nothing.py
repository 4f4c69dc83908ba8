"""A boot image that ends at once: what starting a task costs, and no more."""


def main(*_: int) -> None:
    """Do nothing."""
