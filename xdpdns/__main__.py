"""The process begins here: the command `xdpdns`, which is also `python -m xdpdns`."""

from xdpdns.interrupt import ends_at_once


def main() -> None:
    """Import the command line, and run it."""
    with ends_at_once():
        from xdpdns.cli import main as command
    command(prog_name="xdpdns")


if __name__ == "__main__":
    main()
