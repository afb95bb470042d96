"""Commands of the server, and of exchange with other servers."""
