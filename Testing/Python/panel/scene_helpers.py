"""Helpers that add nodes to the host's scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def add_volume(
    array_kji: np.ndarray, ijk_to_ras: np.ndarray, name: str = "Doe John"
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume to the host's scene."""
    image = vtk.vtkImageData()
    image.SetDimensions(array_kji.shape[::-1])
    flat = np.ascontiguousarray(array_kji).reshape(-1)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(ijk_to_ras, float).ravel())
    node.SetIJKToRASMatrix(matrix)
    return node


def write_series(
    volume: slicer.vtkMRMLScalarVolumeNode, folder: Path, step_mm: float = 1.0
) -> list[str]:
    """Write a volume without turns as CT slices; return their instance UIDs."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    array = slicer.util.arrayFromVolume(volume).astype(np.int16)
    study, series, frame = (generate_uid() for _ in range(3))
    uids = [generate_uid() for _ in array]
    for k, (uid, slice_) in enumerate(zip(uids, array, strict=True)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, uid
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, uid, "CT"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientID, one.PatientName, one.StudyID, one.AccessionNumber = "7", "Doe^John", "1", ""
        one.PatientBirthDate = one.PatientSex = one.StudyDate = one.StudyTime = ""
        one.ReferringPhysicianName = one.Manufacturer = one.PositionReferenceIndicator = ""
        one.SeriesNumber, one.InstanceNumber, one.ImageType = 1, k + 1, ["ORIGINAL", "PRIMARY"]
        one.ImagePositionPatient = [0, 0, k * step_mm]
        one.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        one.PixelSpacing, one.SliceThickness = [step_mm, step_mm], step_mm
        one.Rows, one.Columns = slice_.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        one.PixelData = slice_.tobytes()
        one.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return uids
