"""Segmentations of other software in a scene: names, codes, IDs and label maps as it makes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
from block_spine import NAMES, SHAPE, oriented, spine_labels

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.terminology import meaning

SCALE_MM = 4.0
"""Voxel size at which the blocks of `spine_labels` have the sizes of vertebrae."""

TO_RAS = np.diag([SCALE_MM, SCALE_MM, SCALE_MM, 1.0])
LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
GERMAN = {"T": "Brustwirbel", "L": "Lendenwirbel", "S": "Kreuzbein"}


def entry_of(name: str, context: str) -> str:
    """Return a terminology entry with the code of a level, in another context."""
    label = BY_NAME[name]
    kind = f"SCT^{label.snomed}^{meaning(label)}"
    category = "SCT^123037004^Anatomical Structure"
    return f"{context}~{category}~{kind}~^^~Anatomic codes - DICOM master list~^^~^^"


Named = tuple[str, str, str]
"""ID, name and terminology entry."""

SOURCES: dict[str, Callable[[str], Named]] = {
    "TotalSegmentator": lambda n: (_class_of(n), _class_of(n), ""),
    "module TotalSegmentator": lambda n: (
        _class_of(n),
        meaning(BY_NAME[n]),
        entry_of(n, "Segmentation category and type - Total Segmentator"),
    ),
    "SPINEPS": lambda n: (f"Segment_{BY_NAME[n].value}", n, ""),
    "DICOM SEG": lambda n: (
        str(1 + NAMES.index(n)),
        GERMAN[n[0]] + n[1:],
        entry_of(n, "Segmentation category and type - DICOM master list"),
    ),
    "another site": lambda n: (f"V{BY_NAME[n].value}", f"Vertebra {n}", ""),
}


def _class_of(name: str) -> str:
    return "sacrum" if name == "Sacrum" else f"vertebrae_{name}"


def add_foreign(volume, name_of: Callable[[str], Named], *, separate: bool = False):
    """Add a spine of another source, and a liver in the same label map.

    Args:
        volume: The image.
        name_of: One of `SOURCES`.
        separate: True gives each segment a label map of its own, cropped, as DICOM SEG is loaded.
    """
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Foreign")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    labels = spine_labels()
    labels[2:40, 16:20, 2:14] = 90
    shared = oriented(labels, TO_RAS)
    segments = [*((name_of(n), BY_NAME[n].value) for n in NAMES), (("liver", "liver", ""), 90)]
    for k, ((segment_id, name, entry), value) in enumerate(segments):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.1 * k, 0.5, 0.25)
        segment.SetLabelValue(1 if separate else value)
        if entry:
            segment.SetTag("TerminologyEntry", entry)
        segment.SetTag("Site.Note", f"note {k}")
        image = oriented((labels == value).astype(np.uint8), TO_RAS) if separate else shared
        segment.AddRepresentation(LABELMAP, image)
        node.GetSegmentation().AddSegment(segment, segment_id)
    return node


def foreign_copy(made):
    """Return the vertebrae of a run as another program would have named them."""
    node = made.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Foreign")
    for segment_id in made.GetSegmentation().GetSegmentIDs():
        old, segment = made.GetSegmentation().GetSegment(segment_id), slicer.vtkSegment()
        segment.SetName(f"vertebrae_{old.GetName()}")
        segment.SetLabelValue(old.GetLabelValue())
        segment.AddRepresentation(LABELMAP, old.GetRepresentation(LABELMAP))
        node.GetSegmentation().AddSegment(segment, segment.GetName())
    return node


def make_image() -> np.ndarray:
    """Return the voxels of the image."""
    return np.zeros(SHAPE, np.int16)
