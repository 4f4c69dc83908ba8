"""Calls between processes: sel4py's against everything that a Python program could use instead (README.md)."""
