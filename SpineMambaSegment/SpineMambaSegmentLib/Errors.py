"""What a user sees when a press of a button could not do its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer.util

from spinemamba.errors import UserError


@contextmanager
def shown(message: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Show errors; what the user can put right ends here, a bug of ours goes on to Slicer's log.

    Args:
        message: What did not work.
        say: Gets the sentence, too, for the status line.
    """
    with slicer.util.tryWithErrorDisplay(message):
        try:
            yield
        except UserError as error:
            say(str(error))
            slicer.util.errorDisplay(f"{message}\n\n{error}")
