"""Ask a server what it is, without blocking Slicer."""

from __future__ import annotations

import threading

from spinemamba.common.errors import UserError
from spinemamba.protocol.remote.formats import Capabilities
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.remote.site import Site

_TIMEOUT_S = 10.0


class ServerTest:
    """A question to a server in a thread; it starts at once.

    Args:
        site: The server.

    Raises:
        UserError: If the file with certificates cannot be read.
    """

    def __init__(self, site: Site):
        self._connection = Connection(site, _TIMEOUT_S)
        self._answer: Capabilities | UserError | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def isRunning(self) -> bool:
        """Return True until the server has answered, or has not answered in time."""
        return self._thread.is_alive()

    def capabilities(self) -> Capabilities:
        """Return the answer.

        Raises:
            UserError: If there is none, or the server refuses the token.
        """
        self._thread.join()
        if isinstance(self._answer, Capabilities):
            return self._answer
        raise self._answer

    def stop(self) -> None:
        """Stop waiting for the answer."""
        self._connection.interrupt()

    def _ask(self) -> None:
        with self._connection:
            try:
                self._answer = ServerClient(self._connection).capabilities()
            except UserError as error:
                self._answer = error
