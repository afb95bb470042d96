"""Cases of label files: how to write each, its levels, and the expected message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from synthetic_labels import Part, masks, numbers_of, spine, write_json, write_numbers, write_parts

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image

L234 = ("L2", "L3", "L4")


@dataclass(frozen=True)
class Form:
    """A label file.

    Attributes:
        kind: What is unusual about it.
        write: Writes it into a folder and returns its path.
        names: Its levels, from head to tail.
        message: Text that the command must print.
        refused: Text of the refusal; empty if the file is valid.
        words: Further arguments of every command.
    """

    kind: str
    write: Callable[[Path], Path]
    names: tuple[str, ...]
    message: str = ""
    refused: str = ""
    words: tuple[str, ...] = ()


def segments(*parts: tuple, drawn: tuple[str, ...] = L234, suffix: str = ".seg.nrrd"):
    """Return a writer of a segmentation; parts are name, value, layer and code of vertebrae."""

    def write(folder: Path) -> Path:
        volume = spine(*drawn)
        made = [Part(p[0], m, *p[1:]) for p, m in zip(parts, masks(volume, drawn), strict=False)]
        return write_parts(folder / f"labels{suffix}", volume, made)

    return write


def with_others(*names: str):
    """Return a writer of three vertebrae and other structures beside them."""

    def write(folder: Path) -> Path:
        volume = spine(*L234)
        parts = [
            Part(n, m, k) for n, m, k in zip(L234, masks(volume, L234), (1, 2, 3), strict=True)
        ]
        for k, name in enumerate(names):
            block = np.zeros(volume.array.shape, bool)
            block[:2, :2, 3 * k : 3 * k + 2] = True
            parts.append(Part(name, block, 10 + k))
        return write_parts(folder / "labels.seg.nrrd", volume, parts)

    return write


def overlapping(folder: Path) -> Path:
    """Write segments of two layers that overlap."""
    volume = spine(*L234)
    first, second, third = masks(volume, L234)
    parts = [Part("L2", first, 1), Part("L3", second | first, 1, 1), Part("L4", third, 2)]
    return write_parts(folder / "labels.seg.nrrd", volume, parts)


def numbers(numbers: dict[str, int], drawn: tuple[str, ...] = L234):
    """Return a writer of a label image with these values."""
    return lambda folder: write_numbers(folder / "labels.nii.gz", spine(*drawn), numbers)


def upside_down(folder: Path) -> Path:
    """Write labels under a header that is upside down."""
    volume = spine(*L234)
    write_image(volume.with_array(np.ascontiguousarray(volume.array[::-1])), folder / "l.nii.gz")
    return folder / "l.nii.gz"


RIGHT = [
    Form("usual segments", segments(("L2", 21), ("L3", 22), ("L4", 23)), L234),
    Form(
        "segments renamed, values kept",
        segments(("L3", 21, 0, "L3"), ("L4", 22, 0, "L4"), ("L5", 23, 0, "L5")),
        ("L3", "L4", "L5"),
    ),
    Form(
        "segments renamed, values and codes kept",
        segments(("L3", 21, 0, "L2"), ("L4", 22, 0, "L3"), ("L5", 23, 0, "L4")),
        ("L3", "L4", "L5"),
    ),
    Form("values 1, 2, 3", segments(("L2", 1), ("L3", 2), ("L4", 3)), L234),
    Form("values of other levels", segments(("L2", 23), ("L3", 22), ("L4", 21)), L234),
    Form("two layers", segments(("L2", 1), ("L3", 1, 1), ("L4", 2)), L234),
    Form(
        "codes under names that are not levels",
        segments(("upper", 5, 0, "L2"), ("middle", 6, 0, "L3"), ("L4 corrected", 7, 0, "L4")),
        L234,
    ),
    Form(
        "names of other software",
        segments(("vertebrae_L2", 1), ("l3 Vertebra", 2), ("vertebra L4", 3)),
        L234,
    ),
    Form("T13", segments(("Th12", 1), ("T13", 2), ("L1", 3)), ("T12", "T13", "L1")),
    Form("L6", segments(("L5", 4), ("L6", 1), ("S1", 2)), ("L5", "L6", "Sacrum")),
    Form(
        "segments in a plain .nrrd",
        segments(("L2", 1), ("L3", 2), ("L4", 3), suffix=".nrrd"),
        L234,
    ),
    Form(
        "other structures beside vertebrae",
        with_others("disc L3/L4", "Segment_1", "tumour"),
        L234,
        message="disc L3/L4, Segment_1, tumour",
    ),
    Form(
        "a name with another word",
        segments(("L2", 21), ("L3 corrected", 22), ("L4", 23)),
        ("L2", "L4"),
        message="L3 corrected",
    ),
    Form(
        "a code that contradicts the name",
        segments(("L2", 21), ("L3 corrected", 22, 0, "L4"), ("L4", 23)),
        ("L2", "L4"),
        message="L3 corrected",
    ),
    Form("a label image", numbers(numbers_of("verse", L234)), L234),
    Form(
        "TotalSegmentator version 2",
        numbers(numbers_of("totalsegmentator", L234)),
        L234,
        message="numbering of TotalSegmentator",
    ),
    Form(
        "TotalSegmentator version 1",
        numbers(numbers_of("totalsegmentator-v1", ("L2",)), ("L2",)),
        ("L2",),
        words=("--labels", "totalsegmentator-v1"),
    ),
    Form(
        "instances with a map",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        L234,
        words=("--labels", "names.json"),
    ),
    Form(
        "instances with nnU-Net's dataset.json",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        L234,
        words=("--labels", "dataset.json"),
    ),
    Form("upside down, but named VerSe", upside_down, L234, words=("--labels", "verse")),
]
WRONG = [
    Form(
        "a level twice",
        segments(("L3", 1), ("L3", 2), ("L4", 3)),
        (),
        refused="L3 and L3 are both L3",
    ),
    Form("overlapping layers", overlapping, (), refused=r"L2 and L3 share \d+ voxels"),
    Form(
        "two segments of one value",
        segments(("L2", 1), ("L3", 1), ("L4", 2)),
        (),
        refused="have the same voxels",
    ),
    Form(
        "names that are not levels",
        segments(("Segment_1", 21), ("Segment_2", 22), ("tumour", 23)),
        (),
        refused="has no vertebra, only Segment_1, Segment_2, tumour",
    ),
    Form(
        "an invalid label value",
        segments(("L2", 1, 0, "", {"LabelValue": "x"}), ("L3", 2), ("L4", 3)),
        (),
        refused="does not define the voxels of segment L2",
    ),
    Form(
        "a missing layer",
        segments(("L2", 1, 0, "", {"Layer": "7"}), ("L3", 2), ("L4", 3)),
        (),
        refused="does not define the voxels of segment L2",
    ),
    Form("instances 1, 2, 3", numbers({"L2": 1, "L3": 2, "L4": 3}), (), refused="instance numbers"),
    Form("instances 5, 6, 7", numbers({"L2": 5, "L3": 6, "L4": 7}), (), refused="instance numbers"),
    Form("instances from below", numbers({"L2": 3, "L3": 2, "L4": 1}), (), refused="upside down"),
    Form("a mask", numbers({"L2": 1, "L3": 1, "L4": 1}), (), refused="masks"),
    Form(
        "vertebrae and discs as classes",
        numbers({"L2": 1, "L3": 1, "L4": 2}),
        (),
        refused="masks of one or two structures",
    ),
    Form(
        "TotalSegmentator version 1 in the range of VerSe",
        numbers(numbers_of("totalsegmentator-v1", L234)),
        (),
        refused="TotalSegmentator version 1, or the header holds the spine upside down",
    ),
    Form("upside down", upside_down, (), refused="the header holds the spine upside down"),
    Form(
        "an unknown numbering",
        numbers({"L2": 201, "L3": 202, "L4": 203}),
        (),
        refused="not levels",
    ),
    Form(
        "a map without a level",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="no name in it is a level",
        words=("--labels", "organs.json"),
    ),
    Form(
        "a map with a level twice",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="both 1 and 2 are L2",
        words=("--labels", "twice.json"),
    ),
    Form(
        "VerSe's numbers called TotalSegmentator's",
        numbers(numbers_of("verse", ("L4", "L5", "L6")), ("L4", "L5", "L6")),
        (),
        refused="does not follow the numbering of TotalSegmentator version 1",
        words=("--labels", "totalsegmentator-v1"),
    ),
    Form(
        "an invalid name of a numbering",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="is not a numbering scheme of labels",
        words=("--labels", "nnunet"),
    ),
]


def write_maps(folder: Path) -> None:
    """Write the label maps that some cases use."""
    write_json(folder / "names.json", {"vertebrae_L2": 1, "L3": 2, "L4 vertebra": 3, "disc": 4})
    labels = {"background": "0", "L2": 1, "L3": 2, "L4": 3}
    write_json(folder / "dataset.json", {"labels": labels, "name": "spines"})
    write_json(folder / "organs.json", {"1": "liver", "2": "spleen"})
    write_json(folder / "twice.json", {"L2": 1, "vertebrae_L2": 2})


def by_kind(form: Form) -> str:
    """Return the identifier of a case in the names of tests."""
    return form.kind


def truth_of(form: Form) -> Volume:
    """Return the ground truth of a case in VerSe numbering."""
    drawn = [name for name in L234 if name in form.names] or list(L234)
    if form.kind.startswith(("upside",)):
        volume = spine(*L234)
        return volume.with_array(np.ascontiguousarray(volume.array[::-1]))
    if len(form.names) == 1:
        return spine(*form.names)
    places = drawn if len(form.names) == 2 else L234
    volume = spine(*L234)
    out = np.zeros(volume.array.shape, np.uint8)
    for place, name in zip(places, form.names, strict=True):
        out[volume.array == BY_NAME[place].value] = BY_NAME[name].value
    return volume.with_array(out)
