"""The shell: ``spinemamba segment | demo | evaluate | train | pack | phantom | probe``."""

from spinemamba.cli.main import main

__all__ = ["main"]
