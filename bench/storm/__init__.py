"""Throughput while servers are killed."""
