"""Evaluation of segmentations against references."""
