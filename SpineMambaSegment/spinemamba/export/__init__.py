"""Vertebrae as surfaces and as DICOM SEG, with proof of what was exported.

``surface`` is where VTK works; the modules that 3D Slicer runs in its own process (all but
``source`` and ``dicom_seg``) need nothing but numpy and ``vtkmodules``, which Slicer brings.
"""
