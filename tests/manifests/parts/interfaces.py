"""Two interfaces to connect."""


class Echo:
    """Answers what it is asked."""


class Names:
    """Not the names server's."""
