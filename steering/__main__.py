"""`python -m steering` is the command `steering`."""

from steering.cli import main

main()
