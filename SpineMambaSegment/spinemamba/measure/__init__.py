"""Morphometry of a labelled spine: bodies, endplates, heights, angles, slips, density, canal."""
