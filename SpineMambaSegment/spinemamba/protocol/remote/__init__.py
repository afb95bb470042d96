"""Clients of other computers over HTTP: connections, credentials. Standard library only."""
