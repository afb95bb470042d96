"""Many cases: list, locks, resume, retries, tables."""
