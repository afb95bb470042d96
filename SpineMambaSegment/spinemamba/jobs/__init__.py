"""From file to file, for the worker and the shell alike."""
