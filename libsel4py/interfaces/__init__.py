"""The interfaces of sel4py's own servers, so that a client needs the SDK and nothing else."""
