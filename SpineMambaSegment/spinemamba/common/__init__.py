"""Errors, progress, atomic files, locks and process settings. Standard library only."""
