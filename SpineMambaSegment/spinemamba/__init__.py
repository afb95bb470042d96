"""SpineMamba Segment: one named, coloured and coded segment per vertebra from CT or MR."""

# Nothing is imported here: Slicer's own process imports light modules of this package,
# and an import at this place would load torch into it.
__version__ = "0.1.0"
