"""`python -m xdpdns` is the command `xdpdns`."""

from xdpdns.cli import main

main(prog_name="xdpdns")
