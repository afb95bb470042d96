"""File formats: what headers state, whether voxels are whole, DICOM series."""
