"""``python -m bench restart``: a kernel that is killed under full load."""

from bench.restart.measure import FULL, QUICK, run

__all__ = ["FULL", "QUICK", "run"]
