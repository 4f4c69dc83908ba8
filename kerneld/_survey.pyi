from hw.ram import Ram

def plan(rules: dict[str, int], kinds: list[dict[str, int]], references: bytes, /) -> bytes: ...
def look(
    ram: Ram, plan: bytes, starts: list[tuple[int, int, int]], /
) -> tuple[
    list[tuple[int, int, int, int, int]],
    list[int],
    list[tuple[int, int, int, int]],
    list[int],
    list[str],
    list[str],
]: ...
