"""Runs a system in this process, as `sel4py up` does: the test's other half. Options as JSON in the first argument."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from hw.monitor import MonitorOptions, run


def main() -> int:
    options = json.loads(sys.argv[1])
    if options["descriptors"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["descriptors"], options["descriptors"]))
    return run(
        MonitorOptions(
            name="test",
            folder=Path(options["folder"]),
            ram_bytes=options["ram_bytes"],
            images=options["images"],
            description=options["description"].encode(),
            most_kernel_deaths=options["kernel_deaths"],
            module_paths=[Path(folder) for folder in options["module_paths"]],
            host_calls=options.get("host_calls", {}),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
