"""An image; it is looked for and never run."""


def main() -> None:
    """What the system would start."""
