"""Every JSON that crosses a border, and the client of the worker process. Standard library only."""
