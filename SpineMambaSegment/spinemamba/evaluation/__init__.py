"""Evaluation: a segmentation against a reference."""
