"""Export vertebrae as surfaces with a manifest, and as DICOM SEG.

`meshing.vtk_surface` is the only module that uses VTK. The modules that 3D Slicer runs in its own
process (all but `run_files`, `dicom_seg` and `dicom_source`) need only numpy and ``vtkmodules``,
which Slicer provides.
"""
