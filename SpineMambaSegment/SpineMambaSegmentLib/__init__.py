"""Everything of SpineMamba Segment that needs Slicer: scene, panel, packages."""
