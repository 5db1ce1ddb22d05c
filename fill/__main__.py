"""`python -m fill` is the `fill` command."""

from fill.cli import main

main()
