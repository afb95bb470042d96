"""Training data: read, check, prepare, draw patches."""
