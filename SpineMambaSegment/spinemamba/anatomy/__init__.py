"""Levels of the spine: numbers, names, codes, numbering rules. Standard library only."""
