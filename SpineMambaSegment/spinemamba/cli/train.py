"""``spinemamba train``: see `spinemamba.training`."""

from spinemamba.training.command import add_arguments, run

__all__ = ["add_arguments", "run"]
