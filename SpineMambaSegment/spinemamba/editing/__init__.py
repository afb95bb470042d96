"""Corrections without a new run: split, rename, re-segment one vertebra."""
