"""``python -m deploy.cli``: the command without its installed script."""

from deploy.cli import main

main(prog_name="sel4py")
