"""Jobs of the worker and of the command line: read files, compute, write files."""
