"""Two results of one patient: levels matched by shape, values compared."""
