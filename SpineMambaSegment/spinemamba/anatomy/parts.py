"""Table of the parts of vertebrae, the discs and the canal: values, names, codes and colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, Label
from spinemamba.anatomy.terminology import (
    CATEGORY,
    CONTEXT,
    PRIVATE_SCHEME,
    REGION_CONTEXT,
    SegmentInfo,
    coded_level,
)

LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)

_SIDE_CODES = {LEFT: "SCT^7771000^Left", RIGHT: "SCT^24028007^Right", "": "^^"}

LEVEL_FACTOR = 100
"""A voxel of a part has the label value of its level times this factor, plus that of the part."""


@dataclass(frozen=True)
class Part:
    """One part of a vertebra, or a structure beside vertebrae.

    Attributes:
        value: Number of the part; see `LEVEL_FACTOR`.
        key: Name in files and on the command line.
        name: Display name.
        code: Code as ``scheme^value^meaning``.
        color: Red, green, blue, 0 to 255.
        side: "left", "right", or "" for parts on the midline.
        modifier: Code of a modifier other than the side, or "^^".
    """

    value: int
    key: str
    name: str
    code: str
    color: tuple[int, int, int]
    side: str = ""
    modifier: str = "^^"

    @property
    def modifier_code(self) -> str:
        """Code of the side or of another modifier, ``^^`` if there is none."""
        return _SIDE_CODES[self.side] if self.side else self.modifier


def _pair(
    value: int, key: str, name: str, code: str, colors: tuple[tuple[int, int, int], ...]
) -> tuple[Part, Part]:
    """Return the left and the right part of a pair."""
    left, right = (
        Part(value + k, f"{key}_{side}", f"{side} {name}", code, colors[k], side)
        for k, side in enumerate(SIDES)
    )
    return left, right


_BODY_CODE = "SCT^3572006^Body of vertebra"
_ENDPLATES = {
    1: f"{PRIVATE_SCHEME}^endplate-sup^Superior endplate",
    -1: f"{PRIVATE_SCHEME}^endplate-inf^Inferior endplate",
}

BODY = Part(1, "body", "body", _BODY_CODE, (224, 187, 120))
ENDPLATES = {
    1: Part(
        2,
        "endplate_superior",
        "superior endplate",
        _BODY_CODE,
        (120, 170, 224),
        modifier=_ENDPLATES[1],
    ),
    -1: Part(
        3,
        "endplate_inferior",
        "inferior endplate",
        _BODY_CODE,
        (90, 120, 200),
        modifier=_ENDPLATES[-1],
    ),
}
"""Endplates by sign: 1 is superior, -1 inferior."""

PEDICLES = _pair(
    4, "pedicle", "pedicle", "SCT^78972004^Pedicle of vertebra", ((224, 90, 80), (190, 50, 60))
)
LAMINAE = _pair(
    6, "lamina", "lamina", "SCT^89340005^Lamina of vertebra", ((110, 190, 110), (70, 150, 80))
)
SPINOUS = Part(
    8,
    "spinous_process",
    "spinous process",
    "SCT^55678000^Spinous process of vertebra",
    (240, 150, 60),
)
TRANSVERSE = _pair(
    9,
    "transverse_process",
    "transverse process",
    "SCT^73400003^Transverse process of vertebra",
    ((90, 200, 190), (50, 150, 150)),
)
SUPERIOR = _pair(
    11,
    "superior_articular_process",
    "superior articular process",
    "SCT^317665004^Superior articular process of vertebra",
    ((170, 110, 210), (130, 80, 170)),
)
INFERIOR = _pair(
    13,
    "inferior_articular_process",
    "inferior articular process",
    "SCT^317766009^Inferior articular process of vertebra",
    ((230, 120, 180), (190, 80, 140)),
)
UNDIVIDED = Part(
    15, "undivided", "vertebra (not divided)", "SCT^51282000^Vertebra", (160, 160, 160)
)
DENS = Part(16, "dens", "dens", "SCT^1172006^Odontoid process of axis", (250, 210, 160))
ANTERIOR_ARCH = Part(
    17,
    "anterior_arch",
    "anterior arch",
    f"{PRIVATE_SCHEME}^arch-ant^Anterior arch of atlas",
    (224, 187, 120),
)
POSTERIOR_ARCH = Part(
    18,
    "posterior_arch",
    "posterior arch",
    f"{PRIVATE_SCHEME}^arch-post^Posterior arch of atlas",
    (110, 190, 110),
)
LATERAL_MASSES = _pair(
    19,
    "lateral_mass",
    "lateral mass",
    f"{PRIVATE_SCHEME}^mass-lat^Lateral mass of atlas",
    ((170, 110, 210), (130, 80, 170)),
)
FIRST_SACRAL_BODY = Part(
    21,
    "first_sacral_body",
    "first sacral body",
    f"{PRIVATE_SCHEME}^body-S1^Body of first sacral vertebra",
    (224, 187, 120),
)
ALAE = _pair(
    22, "ala", "ala", f"{PRIVATE_SCHEME}^ala^Ala of sacrum", ((90, 200, 190), (50, 150, 150))
)
MEDIAN_CREST = Part(
    24,
    "median_crest",
    "median crest",
    f"{PRIVATE_SCHEME}^crest-med^Median sacral crest",
    (240, 150, 60),
)
DISC = Part(
    40, "disc", "intervertebral disc", f"{PRIVATE_SCHEME}^disc^Intervertebral disc", (130, 200, 230)
)
CANAL = Part(41, "canal", "spinal canal", "SCT^61853006^Vertebral canal", (250, 230, 120))

PARTS: tuple[Part, ...] = (
    BODY,
    *ENDPLATES.values(),
    *PEDICLES,
    *LAMINAE,
    SPINOUS,
    *TRANSVERSE,
    *SUPERIOR,
    *INFERIOR,
    UNDIVIDED,
    DENS,
    ANTERIOR_ARCH,
    POSTERIOR_ARCH,
    *LATERAL_MASSES,
    FIRST_SACRAL_BODY,
    *ALAE,
    MEDIAN_CREST,
)
"""Parts of a vertebra, in the order of files and tables."""

TYPICAL: tuple[Part, ...] = PARTS[: PARTS.index(UNDIVIDED)]
"""Parts of C3 to L6."""

OWN_PARTS: Mapping[str, tuple[Part, ...]] = {
    "C1": (ANTERIOR_ARCH, POSTERIOR_ARCH, *LATERAL_MASSES, *TRANSVERSE),
    "C2": (DENS, *(part for part in TYPICAL if part is not ENDPLATES[1])),
    "Sacrum": (FIRST_SACRAL_BODY, ENDPLATES[1], *ALAE, *SUPERIOR, MEDIAN_CREST),
    "Coccyx": (),
}
"""Parts of the levels that are built differently."""

PART_BY_VALUE = {part.value: part for part in (*PARTS, DISC, CANAL)}
PART_BY_KEY = {part.key: part for part in PART_BY_VALUE.values()}

DISC_CODES: Mapping[tuple[str, str], str] = {
    ("C2", "C3"): "1078209008",
    ("C3", "C4"): "58820006",
    ("C4", "C5"): "49400002",
    ("C5", "C6"): "73959003",
    ("C6", "C7"): "75095006",
    ("C7", "T1"): "37414007",
    ("T1", "T2"): "40908007",
    ("T2", "T3"): "6004007",
    ("T3", "T4"): "2620004",
    ("T4", "T5"): "82965004",
    ("T5", "T6"): "72692000",
    ("T6", "T7"): "74401007",
    ("T7", "T8"): "28693002",
    ("T8", "T9"): "9188009",
    ("T9", "T10"): "113209001",
    ("T10", "T11"): "34959001",
    ("T11", "T12"): "1537001",
    ("T12", "L1"): "76206002",
    ("L1", "L2"): "80064006",
    ("L2", "L3"): "67459009",
    ("L3", "L4"): "62551000",
    ("L4", "L5"): "84020006",
    ("L5", "Sacrum"): "715056000",
}
"""SNOMED CT codes of the discs between two levels (DICOM CID 7604)."""


def part_value(level: str, part: Part) -> int:
    """Return the value of a part of a level in a label map of parts.

    Args:
        level: Name of the level; of the upper level for a disc, "" for the canal.
        part: The part.
    """
    return (BY_NAME[level].value * LEVEL_FACTOR if level else 0) + part.value


def level_and_part(value: int) -> tuple[Label | None, Part]:
    """Return the level and the part of a value; the level of the canal is None.

    Raises:
        KeyError: If no part has this value.
    """
    level, number = divmod(value, LEVEL_FACTOR)
    part = PART_BY_VALUE[number]
    if (part is CANAL) != (level == 0):
        raise KeyError(value)
    return (BY_VALUE[level] if level else None), part


def part_info(value: int, lower: str = "", tags: Mapping[str, str] | None = None) -> SegmentInfo:
    """Return name, colour and code of a value in a label map of parts.

    Args:
        value: Value of a part, as of `part_value`.
        lower: Level below a disc; ignored for other parts.
        tags: Further tags of the segment.

    Raises:
        KeyError: If no part has this value.
    """
    label, part = level_and_part(value)
    if label is None:
        name, kind, region = part.name, part.code, "^^"
    elif part is DISC:
        name, kind, region = f"{label.name}-{lower} disc", disc_code(label.name, lower), "^^"
    else:
        name, kind, region = f"{label.name} {part.name}", part.code, coded_level(label)
    entry = "~".join((CONTEXT, CATEGORY, kind, part.modifier_code, REGION_CONTEXT, region, "^^"))
    return SegmentInfo(value, name, part.color, entry, tags or {}, "P")


def disc_code(upper: str, lower: str) -> str:
    """Return the code of the disc between two levels."""
    lower_name = "S1" if lower == "Sacrum" else lower
    code = DISC_CODES.get((upper, lower))
    if code is None:
        return f"{PRIVATE_SCHEME}^{upper}-{lower_name}^{upper}/{lower_name} disc"
    return f"SCT^{code}^{upper}/{lower_name} disc"
