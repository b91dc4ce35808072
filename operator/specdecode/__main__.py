"""`python -m specdecode`."""

from specdecode.cli import main

main()
