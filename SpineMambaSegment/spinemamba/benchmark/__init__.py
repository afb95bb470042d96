"""Benchmarks: scans, networks, a whole case, and the level solver on simulated chains."""
