"""The C extensions. The ABI header is made from libsel4py/abi.py before they are compiled."""

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type", "-fvisibility=hidden"]


class BuildExtensions(build_ext):
    """Make hw/abi.h, then build."""

    def run(self) -> None:
        sys.path.insert(0, str(ROOT))
        from hw.header import header

        (ROOT / "hw" / "abi.h").write_text(header())
        super().run()


def optimized_as_one() -> list[str]:
    """For an extension whose fast path goes through small functions of several files. GCC has all that it takes."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return ["-flto=auto"] if "Free Software Foundation" in said else []


def extension(name: str, folder: str, extra: list[str] | None = None) -> Extension:
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.c"))
    headers = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.h"))
    shared = sorted(str(path.relative_to(ROOT)) for path in [*(ROOT / "hw/_ram").glob("*.h"), ROOT / "hw/spin.h"])
    return Extension(
        name,
        sources,
        include_dirs=["hw", "hw/_ram"],
        depends=[*headers, *shared, "libsel4py/abi.py", "hw/header.py"],
        extra_compile_args=[*FLAGS, *(extra or [])],
        extra_link_args=["-O2", *extra] if extra else [],
        libraries=["pthread"],
        py_limited_api=True,
    )


def network_stack() -> list[Extension]:
    """The network server's, of lwIP's source and ours; none where that cannot be had."""
    folder = "servers/network/_lwip"
    fetch = runpy.run_path(str(ROOT / folder / "fetch.py"))
    try:
        source = fetch["source"](ROOT)
    except fetch["NoLwip"] as error:
        print(f"the network server is built without its stack: {error}", file=sys.stderr)
        return []
    core = [path for name in ("core", "core/ipv4", "core/ipv6") for path in sorted((source / "src" / name).glob("*.c"))]
    theirs = [*core, source / "src/netif/ethernet.c"]
    made = extension("servers.network._lwip", folder)
    made.sources += [os.path.relpath(path, ROOT) for path in theirs]
    made.depends += [f"{folder}/arch/cc.h", f"{folder}/fetch.py"]
    made.include_dirs = [folder, os.path.relpath(source / "src/include", ROOT)]
    made.extra_compile_args = ["-std=gnu11", "-O2", "-fvisibility=hidden", "-w"]
    return [made]


setup(
    ext_modules=[
        extension("hw._ram", "hw/_ram"),
        extension("hw._cpu", "hw/_cpu", ["-O3", *optimized_as_one()]),
        extension("hw._disk", "hw/_disk"),
        extension("hw._net", "hw/_net"),
        extension("kerneld._fastpath", "kerneld/_fastpath"),
        extension("kerneld._survey", "kerneld/_survey"),
        *network_stack(),
    ],
    cmdclass={"build_ext": BuildExtensions},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
