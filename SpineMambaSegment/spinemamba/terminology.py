"""How a level is written onto a segment: name, colour, code and tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spinemamba.labels import BY_NAME, BY_VALUE, LABELS, Label

CATEGORY = "SCT^123037004^Anatomical Structure"
CONTEXT = "Segmentation category and type - SpineMamba"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
PLAIN_VERTEBRA = "SCT^51282000^Vertebra"
PRIVATE_SCHEME = "99SPINE"
"""Coding scheme of levels without a SNOMED code; inventing numbers would be wrong."""


@dataclass(frozen=True)
class SegmentInfo:
    """What a segment is called and looks like.

    Attributes:
        value: Label value in the image.
        name: Name shown to people.
        color: Red, green, blue, 0 to 255.
        terminology: Slicer's terminology entry.
        tags: Further tags, for example the model's name.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def segment_id(self) -> str:
        """ID of the segment; stays when a person renames it."""
        return f"V{self.value}"


def terminology_entry(label: Label) -> str:
    """Return Slicer's serialised terminology entry of a level.

    Returns:
        ``context~category~type~modifier~region context~region~region modifier``; a level
        without a SNOMED code is a vertebra with a private modifier.
    """
    if label.snomed is not None:
        kind = f"SCT^{label.snomed}^{meaning(label)}"
        modifier = "^^"
    else:
        kind = PLAIN_VERTEBRA
        modifier = f"{PRIVATE_SCHEME}^{label.name}^{meaning(label)}"
    return "~".join((CONTEXT, CATEGORY, kind, modifier, REGION_CONTEXT, "^^", "^^"))


def segment_info(value: int, tags: Mapping[str, str] | None = None) -> SegmentInfo:
    """Return name, colour and code of a label value.

    Raises:
        KeyError: If there is no such label.
    """
    label = BY_VALUE[value]
    return SegmentInfo(value, label.name, label.color, terminology_entry(label), tags or {})


def level_of(name: str, entry: str = "") -> Label | None:
    """Return the level of a segment, whoever made it; None if it is none.

    Args:
        name: Of the segment; counts first, since a person may have renamed it.
        entry: Its terminology entry; counts if the name is more than a level.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    codes = entry.split("~")[1:4]
    return next((x for x in LABELS if terminology_entry(x).split("~")[1:4] == codes), None)


def meaning(label: Label) -> str:
    """Return a level in the words of its code."""
    return label.name if label.name in ("Sacrum", "Coccyx") else f"{label.name} vertebra"
