"""Validation of a network in training: whole cases, segmented and scored as the product does."""
