"""Background processes of the panel, from start to result."""
