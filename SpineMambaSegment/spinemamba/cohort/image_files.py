"""Decide by name whether a file is an image to segment. Standard library only."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from spinemamba.protocol.image_formats import IMAGE_KINDS

_DETACHED = (".nhdr", ".mhd")
"""Headers whose voxels may be in other files."""

_MASK = re.compile(
    r"(^|[-_.])(seg|dseg|mask|masks|msk|label|labels|labelmap|segmentation|seg-vert)$", re.I
)
"""End of the name of a label image, before the format."""

_LABEL_FOLDERS = re.compile(r"(labels?(tr|ts|va)?|masks?|segmentations?|derivatives)", re.I)
"""Names of folders with label images: nnU-Net, BIDS and common ones."""

_OTHER_BIDS = {"func", "dwi", "fmap", "perf", "pet", "meg", "eeg", "ieeg", "beh", "micr", "nirs"}
"""Folders of BIDS with data other than anatomy."""

_DATASET = "dataset_description.json"
_DICOM_ENDINGS = (".dcm", ".ima")
_DICOM_INDEX = "DICOMDIR"
_DICOM_MARK = (128, b"DICM")


def kind_of(path: Path) -> str:
    """Return the format of an image file by its name; empty if it is not one."""
    return next((kind for end, kind in IMAGE_KINDS.items() if path.name.lower().endswith(end)), "")


def stem_of(path: PurePath) -> str:
    """Return the name of a file without its format; other dots belong to the name."""
    end = next((end for end in IMAGE_KINDS if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(end)]


def why_not(path: Path) -> str:
    """Return why an image file is not one to segment, by its name; empty if it is one."""
    if path.name.lower().endswith(".seg.nrrd") or _MASK.search(stem_of(path)):
        return "a label image, by its name"
    return ""


def why_not_folder(name: str, *, is_bids: bool) -> str:
    """Return why a folder has no images to segment, by its name; empty if it may have."""
    if name.startswith(".") or name == "__MACOSX":
        return "hidden"
    if _LABEL_FOLDERS.fullmatch(name):
        return "label images, by the folder's name"
    if is_bids and name in _OTHER_BIDS:
        return "BIDS data other than anatomy"
    return ""


def is_bids(folder: Path) -> bool:
    """Return whether a folder is a BIDS data set."""
    return (folder / _DATASET).is_file()


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the image file, and the files that may hold its voxels."""
    if path.suffix.lower() not in _DETACHED:
        return (path,)
    stem = path.name[: -len(path.suffix)]
    beside = (other for other in path.parent.iterdir() if other.name.startswith(f"{stem}."))
    return tuple(sorted({path, *(other for other in beside if other.is_file())}))


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its name or its content."""
    if path.suffix.lower() in _DICOM_ENDINGS:
        return True
    if path.name == _DICOM_INDEX:
        return False
    offset, mark = _DICOM_MARK
    # Other endings name other formats; DICOM files often have none, or numbers after a dot.
    if not re.fullmatch(r"(\.\d*)?", path.suffix):
        return False
    try:
        with path.open("rb") as file:
            return file.read(offset + len(mark))[offset:] == mark
    except OSError:
        return False
