"""Inputs of a run that are saved with the scene."""

from __future__ import annotations

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper

from spinemamba.protocol.job import MODALITIES, QUALITIES

NODES = ("InputVolume", "OutputSegmentation", "Region")
CURRENT_FRAME, ALL_FRAMES = "current", "all"
ORIGINAL_SLICES, FINE_SLICES = "original", "fine"
CHOICES = {
    "Modality": MODALITIES,
    "Quality": QUALITIES,
    "Frames": (CURRENT_FRAME, ALL_FRAMES),
    "Slices": (ORIGINAL_SLICES, FINE_SLICES),
}


@parameterNodeWrapper
class Parameters:
    """The parameter node with typed attributes; their names are those in saved scenes.

    Attributes:
        InputVolume: The image; None if none is chosen.
        OutputSegmentation: Receives the segments; None for a new one.
        Region: Region to segment; None for the whole volume.
        Modality: One of `MODALITIES`.
        Quality: One of `QUALITIES`.
        Frames: Frames of a sequence to segment: `CURRENT_FRAME` or `ALL_FRAMES`.
        CalibrationSlope: Slope of the density calibration as entered; see `Scene.Given`.
        CalibrationIntercept: Its density at 0 HU.
        CalibrationUncertainty: Its uncertainty.
        Hips: Centres of both femoral heads; None if they are not marked.
        Slices: `ORIGINAL_SLICES`, or `FINE_SLICES` to subdivide thick ones.
    """

    InputVolume: slicer.vtkMRMLScalarVolumeNode
    OutputSegmentation: slicer.vtkMRMLSegmentationNode
    Region: slicer.vtkMRMLMarkupsROINode
    Modality: Annotated[str, Choice(MODALITIES)] = MODALITIES[0]
    Quality: Annotated[str, Choice(QUALITIES)] = QUALITIES[0]
    Frames: Annotated[str, Choice(CHOICES["Frames"])] = CURRENT_FRAME
    Slices: Annotated[str, Choice(CHOICES["Slices"])] = ORIGINAL_SLICES
    CalibrationSlope: str = ""
    CalibrationIntercept: str = ""
    CalibrationUncertainty: str = ""
    Hips: slicer.vtkMRMLMarkupsFiducialNode


def parametersOf(node: slicer.vtkMRMLScriptedModuleNode) -> Parameters:
    """Wrap a parameter node; the values of older scenes are kept.

    Slicer's wrapper marks a reference that is set by a parameter of the same name, and clears
    references without this mark. Scenes saved before the wrapper was used have none.
    """
    for name in NODES:
        if node.GetNodeReference(name) is not None and not node.HasParameter(name):
            node.SetParameter(name, "")
    return Parameters(node)
