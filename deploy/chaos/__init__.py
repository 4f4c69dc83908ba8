"""Faults by the thousand: what `sel4py chaos` does to a system, and what it finds out."""
