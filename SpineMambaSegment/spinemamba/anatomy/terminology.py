"""Names, colours and terminology codes of segments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, LABELS, Label

CATEGORY = "SCT^123037004^Anatomical Structure"
CONTEXT = "Segmentation category and type - SpineMamba"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
PLAIN_VERTEBRA = "SCT^51282000^Vertebra"
PRIVATE_SCHEME = "99SPINE"
"""Private coding scheme of levels without a SNOMED code."""

_BY_SNOMED = {label.snomed: label for label in LABELS if label.snomed is not None}

_SRT_STEMS = {"C": "T-116", "T": "T-117", "L": "T-119"}
_BY_SRT = {
    f"{stem}{number:X}0": BY_NAME[f"{region}{number}"]
    for region, stem in _SRT_STEMS.items()
    for number in range(1, 13)
    if f"{region}{number}" in BY_NAME and BY_NAME[f"{region}{number}"].snomed is not None
} | {"T-11AD0": BY_NAME["Sacrum"], "T-11BF0": BY_NAME["Coccyx"]}
"""SNOMED RT codes, which DICOM used before SNOMED CT and older DICOM SEG still have. The last but
one digit is the number of the vertebra, hexadecimal."""

_BY_CODE = {
    **{("SCT", code): label for code, label in _BY_SNOMED.items()},
    **{
        (scheme, code): label
        for scheme in ("SRT", "SNM3", "99SDM")
        for code, label in _BY_SRT.items()
    },
}
"""Levels by coding scheme and code. The schemes of SNOMED RT are those that PS3.16 lists."""

_VERTEBRA_WORDS = re.compile(
    r"^(?:v[eé]rtebrae?|vert[eè]bre|vert|wirbel)[ _.-]*"
    r"|[ _.-]+(?:v[eé]rtebrae?|vert[eè]bre|wirbel)$",
    re.IGNORECASE,
)
"""Prefixes and suffixes of a level: vertebrae_L1, L1 vertebra, vertèbre L1."""

_REGION_NAMES = re.compile(
    r"(?:(?P<C>hwk|halswirbel(?:k(?:ö|oe)rper)?|cervical)"
    r"|(?P<T>bwk|brustwirbel(?:k(?:ö|oe)rper)?|thoracic)"
    r"|(?P<L>lwk|lendenwirbel(?:k(?:ö|oe)rper)?|lumbar))"
    r"(?:[ _.-]+vertebra)?[ _.-]*0?(?P<number>\d{1,2})",
    re.IGNORECASE,
)
"""Names that spell the region: LWK1, Lendenwirbel 1, lumbar vertebra 1."""

_OTHER_STRUCTURE = re.compile(
    r"(?<![a-z])(?:dis[ck]|bandscheibe|ivd|rib|costa|rippe|nerve|root|nervenwurzel|muscle|muskel"
    r"|psoas|endplate|facet|foramen|ligament|canal|kanal|spinalkanal|cord|screw|implant|cage"
    r"|lesion|tumou?r|artery|vein|pedicle|laminae?|process(?:es)?)[sn]?(?![a-z])",
    re.IGNORECASE,
)
"""Words in names of structures that are called after a level but are no vertebra."""

LEVEL = re.compile(r"(C|T|Th|L|S)[ _-]?0?(\d{1,2})", re.IGNORECASE)
_LEVEL_INSIDE = re.compile(r"(?<![a-z0-9])(C|T|Th|L|S)[ _-]?0?(\d{1,2})(?![a-z0-9])", re.IGNORECASE)
"""A level among other words, as in "L3 corrected" or "disc L3/L4"."""

_NUMBERED = re.compile(r"(?:segment|label|class|structure)?[ _-]*(\d+)", re.IGNORECASE)
"""Names such as Segment_20, which programs give to label values without names."""

_LOWER_SACRAL = ("S2", "S3", "S4", "S5")

_OTHER_NAMES = {
    "atlas": "C1",
    "axis": "C2",
    "sacrum": "Sacrum",
    "os sacrum": "Sacrum",
    "coccyx": "Coccyx",
    "os coccygis": "Coccyx",
    "kreuzbein": "Sacrum",
    "steißbein": "Coccyx",
    "steissbein": "Coccyx",
}
"""Names without a number."""


@dataclass(frozen=True)
class SegmentInfo:
    """Name and appearance of a segment.

    Attributes:
        value: Value in the label map.
        name: Display name.
        color: Red, green, blue, 0 to 255.
        terminology: Slicer's terminology entry.
        tags: Further tags, for example the model's name.
        prefix: Beginning of the ID: V for vertebrae, P for parts of vertebrae.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: str
    tags: Mapping[str, str] = field(default_factory=dict)
    prefix: str = "V"

    @property
    def segment_id(self) -> str:
        """ID of the segment; does not change when the user renames it."""
        return f"{self.prefix}{self.value}"


def terminology_entry(label: Label) -> str:
    """Return the terminology entry of a level as serialised by Slicer.

    Returns:
        ``context~category~type~modifier~region context~region~region modifier``. A level without a
        SNOMED code is coded as a vertebra with a private modifier.
    """
    if label.snomed is not None:
        kind = f"SCT^{label.snomed}^{meaning(label)}"
        modifier = "^^"
    else:
        kind = PLAIN_VERTEBRA
        modifier = f"{PRIVATE_SCHEME}^{label.name}^{meaning(label)}"
    return "~".join((CONTEXT, CATEGORY, kind, modifier, REGION_CONTEXT, "^^", "^^"))


def coded_level(label: Label) -> str:
    """Return the code of a level as the region of one of its parts, ``scheme^value^meaning``."""
    scheme, code = ("SCT", label.snomed) if label.snomed else (PRIVATE_SCHEME, label.name)
    return f"{scheme}^{code}^{meaning(label)}"


def segment_info(value: int, tags: Mapping[str, str] | None = None) -> SegmentInfo:
    """Return name, colour and code of a label value.

    Raises:
        KeyError: If the value is not in the label table.
    """
    label = BY_VALUE[value]
    return SegmentInfo(value, label.name, label.color, terminology_entry(label), tags or {})


def level_named(text: str) -> Label | None:
    """Return the level of a name, or None if the name is not exactly a level.

    Case and the word vertebra are ignored: ``L1``, ``vertebrae_L1``, ``T12 vertebra``, ``Th12``,
    ``sacrum``, ``LWK1``, ``lumbar vertebra 1``. ``S1`` is read as the sacrum. A name with other
    words, such as ``L3 corrected``, is not recognised.
    """
    # Names from macOS may have accents as separate characters.
    plain = _VERTEBRA_WORDS.sub("", unicodedata.normalize("NFC", text).strip()).strip().lower()
    if plain in _OTHER_NAMES:
        return BY_NAME[_OTHER_NAMES[plain]]
    if region := _REGION_NAMES.fullmatch(plain):
        letter = next(name for name in _SRT_STEMS if region[name])
        return BY_NAME.get(f"{letter}{int(region['number'])}")
    match = LEVEL.fullmatch(plain)
    return None if match is None else BY_NAME.get(_canonical_name(match))


def level_of(name: str, entry: str = "") -> Label | None:
    """Return the level of a segment from any software, or None if it is not a level.

    Args:
        name: Name of the segment. It has priority, since the user may have renamed the segment.
        entry: Terminology entry, used if the name is not exactly a level, and ignored if the name
            contains a different level: Slicer keeps the code when the user renames a segment.
    """
    named = level_named(name)
    if named is not None:
        return named
    coded = level_coded(entry)
    mentioned = {_canonical_name(match) for match in _LEVEL_INSIDE.finditer(name)}
    return coded if coded is None or mentioned <= {coded.name} else None


def is_own_entry(entry: str) -> bool:
    """Return whether a terminology entry is in the context of this package."""
    return entry.startswith(f"{CONTEXT}~")


def name_like(name: str, label: Label) -> str:
    """Return the name of a level in the style of another name of a level.

    ``vertebrae_L1`` becomes ``vertebrae_L2``, ``Th12 vertebra`` becomes ``Th11 vertebra``, ``l01``
    becomes ``l02``. A name without a number, or with other words, has no style: the result is the
    name of the level.
    """
    match = _LEVEL_INSIDE.search(name)
    if match is None or level_named(name) is None or not label.name[1:].isdigit():
        return label.name
    region, number = label.name[0], label.name[1:]
    if match[1][0].upper() == region:
        region = match[1]
    elif match[1].islower():
        region = region.lower()
    between = name[match.end(1) : match.start(2)]
    if between.endswith("0"):
        between, number = between[:-1], number.zfill(2)
    new = f"{name[: match.start()]}{region}{between}{number}{name[match.end() :]}"
    return new if level_named(new) is label else label.name


def mentions_level(name: str) -> bool:
    """Return whether a name contains a level of a vertebra, alone or among other words.

    Not so in names of other structures: ``disc L1-L2``, ``L1/L2``, ``rib_T4``, ``nerve root L5``,
    and the parts ``S2`` to ``S5`` of the sacrum.
    """
    levels = {_canonical_name(match) for match in _LEVEL_INSIDE.finditer(name)}
    is_one = len(levels) == 1 and levels <= set(BY_NAME)
    return is_one and _OTHER_STRUCTURE.search(name) is None


def is_sacral_part(name: str) -> bool:
    """Return whether a name is that of a sacral vertebra below S1, such as ``S2``."""
    match = LEVEL.fullmatch(_VERTEBRA_WORDS.sub("", name.strip()))
    return match is not None and _canonical_name(match) in _LOWER_SACRAL


def number_named(name: str) -> int | None:
    """Return the number of a segment that was imported from a label map without names, or None."""
    match = _NUMBERED.fullmatch(name.strip())
    return None if match is None else int(match[1])


def why_no_level(entry: str = "") -> str:
    """Return the reason for which `level_of` returned None, given the terminology entry."""
    other = level_coded(entry) is not None
    return "its name and its code mean different levels" if other else "its name is no level"


def level_coded(entry: str) -> Label | None:
    """Return the level of a terminology entry in any context, or None if it is not a level.

    Only the type of the entry is used: a tumour whose region is a vertebra is not a vertebra.
    """
    parts = [part.split("^") for part in entry.split("~")]
    if len(parts) < 4 or len(parts[2]) < 2:
        return None
    kind, modifier = parts[2], parts[3]
    if (level := _BY_CODE.get((kind[0], kind[1]))) is not None:
        return level
    private = kind[:2] == PLAIN_VERTEBRA.split("^")[:2] and modifier[0] == PRIVATE_SCHEME
    return BY_NAME.get(modifier[1]) if private and len(modifier) > 1 else None


def _canonical_name(match: re.Match[str]) -> str:
    """Return a level as spelt in the label table; S1 is the uppermost part of the sacrum."""
    name = f"{match[1][0].upper()}{int(match[2])}"
    return "Sacrum" if name == "S1" else name


def meaning(label: Label) -> str:
    """Return the code meaning of a level."""
    return label.name if label.name in ("Sacrum", "Coccyx") else f"{label.name} vertebra"
