"""Physical memory, as the kernel uses it: a window, transactions on it, and typed records in it.

A `Ram` is made over any writable buffer: a mapping of a memfd in a running system, a `bytearray` in a test.
Rules: kernel state changes only through record fields (or `set_word`, `write`) and only inside a transaction;
`poke` and `zero` are for memory that holds no kernel record. A view (`Record`) is an address and nothing else.
"""

from hw._ram import Bits, Interrupted, Ram, RamError, Record, Ref, Transaction, Word

__all__ = ["Bits", "Interrupted", "Ram", "RamError", "Record", "Ref", "Transaction", "Word"]
