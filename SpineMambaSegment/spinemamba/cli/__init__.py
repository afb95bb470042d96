"""The commands of ``spinemamba``: one module each, with ``add_arguments`` and ``run``."""

from spinemamba.cli.main import main

__all__ = ["main"]
