"""Has the name of a module of Python's, which is found in its place."""


def main() -> None: ...
