"""The shell's commands: importing this package registers all of them, in the order in which ``help`` lists them."""

from apps.shell.command import COMMANDS
from apps.shell.commands import files, line, network, services, system

__all__ = ["COMMANDS", "files", "line", "network", "services", "system"]
