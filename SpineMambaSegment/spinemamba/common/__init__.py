"""Errors, progress, atomic files, versioned JSON. Standard library only."""
