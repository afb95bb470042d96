"""The shell: ``spinemamba segment | demo | train | phantom | evaluate | probe``."""

from spinemamba.cli.main import main

__all__ = ["main"]
