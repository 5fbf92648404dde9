"""`python -m defocus` is the command `defocus`."""

from defocus.cli.app import main

main()
