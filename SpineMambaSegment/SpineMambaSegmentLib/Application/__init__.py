"""Integration with Slicer: sample data, Data module, status bar, progress of installations."""
