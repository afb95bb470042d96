"""Exchange with servers over HTTP: formats, connections, clients. Standard library only."""
