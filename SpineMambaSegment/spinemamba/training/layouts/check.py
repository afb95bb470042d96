"""Check one case of a data set before anything is trained on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE, LABELS
from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import guess_modality, hounsfield_problem
from spinemamba.imaging.orientation import canonical_view
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.labelmaps.read import values_in
from spinemamba.training.data.dataset import BONE_HU
from spinemamba.training.layouts.read_labels import read_case_labels
from spinemamba.training.layouts.totalsegmentator import structures
from spinemamba.training.layouts.user_case import UserCase

_AXES = ("upside down", "front to back", "left to right")
"""Words for a mirrored axis z, y, x in canonical orientation."""

_SIDED = ("hip", "kidney", "lung_upper_lobe", "rib_7", "rib_left_7", "iliopsoas", "gluteus_maximus")
"""Structures of TotalSegmentator that exist on both sides."""


@dataclass(frozen=True)
class CheckOptions:
    """Thresholds of the checks, each with its reason.

    Attributes:
        least_bone: Least share of labelled voxels that are as bright as bone; even osteoporotic
            vertebrae have a cortex.
        better_mirrored: By how much this share must be larger with mirrored labels for these to be
            mirrored; a spine in the middle of the image looks nearly the same.
        step_vox: Sampling of the image along each axis.
    """

    least_bone: float = 0.25
    better_mirrored: float = 0.2
    step_vox: int = 2


@dataclass(frozen=True)
class CaseReport:
    """What a check found.

    Attributes:
        case: The case.
        size: Voxels along x, y, z as text; empty if the image cannot be read.
        spacing_mm: Voxel spacing along x, y, z as text.
        levels: Labelled levels, from top to bottom.
        problems: Why the case cannot be used, each with its file.
        warnings: What a person should look at.
        content: SHA-256 of the voxels of the image; empty if it cannot be read.
    """

    case: UserCase
    size: str = ""
    spacing_mm: str = ""
    levels: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    content: str = ""

    @property
    def empty(self) -> bool:
        """Whether the files are in order, but no vertebra is labelled."""
        return not self.levels and not self.problems


def check_case(case: UserCase, options: CheckOptions = CheckOptions()) -> CaseReport:
    """Read a case and return what is wrong with it; errors of reading are problems, too."""
    problems: list[str] = []
    image = labels = None
    try:
        image = read_volume(case.image)
    except (UserError, OSError) as error:
        problems.append(f"{case.image.name}: {_text(error)}")
    try:
        labels, _ = read_case_labels(case)
    except (UserError, OSError) as error:
        problems.append(f"{case.labels.name}: {_text(error)}")
    if image is None or labels is None:
        return CaseReport(case, problems=tuple(problems))
    if problem := _scale_problem(image, case):
        problems.append(f"{case.image.name}: {problem}")
    warnings: list[str] = []
    if difference := image.geometry.difference(labels.geometry):
        problems.append(
            f"{case.labels.name}: its grid is not that of {case.image.name}: {difference}"
        )
    elif case.modality == "ct" and labels.array.any():
        wrong, doubtful = _fit(image, labels, options)
        problems += [f"{case.labels.name}: {wrong}"] if wrong else []
        warnings += [f"{case.labels.name}: {doubtful}"] if doubtful else []
    if case.labels.is_dir() and (wrong := _exchanged_sides(case)):
        problems.append(f"{case.labels.name}: {wrong}")
    present = set(values_in(labels.array))
    return CaseReport(
        case,
        " x ".join(map(str, image.geometry.shape[::-1])),
        " x ".join(f"{mm:.3g}" for mm in image.spacing_mm[::-1]),
        tuple(label.name for label in LABELS if label.value in present),
        tuple(problems),
        tuple(warnings),
        hashlib.sha256(np.ascontiguousarray(image.array)).hexdigest(),
    )


def _text(error: UserError | OSError) -> str:
    return error.message if isinstance(error, UserError) else f"{error.strerror}."


def _scale_problem(image: Volume, case: UserCase) -> str:
    """Return why the values are not those of the modality; empty if they are."""
    if case.modality == "ct":
        return hounsfield_problem(image) or ""
    if image.modality == "ct" or guess_modality(image.array) == "ct":
        return "it is a CT by its values, in a place where the layout has MR"
    return ""


def _fit(image: Volume, labels: Volume, options: CheckOptions) -> tuple[str, str]:
    """Return a problem and a warning about labels that lie beside the bone of a CT."""
    step = (slice(None, None, options.step_vox),) * 3
    bright = canonical_view(image)[0].array[step] > BONE_HU
    labelled = canonical_view(labels)[0].array[step] > 0
    if not labelled.any():
        return "", ""
    own = float(bright[labelled].mean())
    shares = [float(bright[np.flip(labelled, axis)].mean()) for axis in range(3)]
    best = int(np.argmax(shares))
    if shares[best] > own + options.better_mirrored:
        return (
            f"{100 * own:.0f} % of the labelled voxels are bone, {100 * shares[best]:.0f} % with "
            f"the labels mirrored {_AXES[best]}"
        ), ""
    if own < options.least_bone:
        return "", (
            f"only {100 * own:.0f} % of the labelled voxels are brighter than {BONE_HU} HU: are "
            "they shifted, or of another image?"
        )
    return "", ""


def _exchanged_sides(case: UserCase) -> str:
    """Return a problem if a structure's left mask lies right of its right mask; else empty."""
    names = set(structures(case.labels))
    pairs = [
        (left, left.replace("left", "right"))
        for left in sorted(names)
        if "left" in left and left.replace("left", "right") in names
    ]
    chosen = [pair for pair in pairs if any(word in pair[0] for word in _SIDED)]
    for left, right in chosen:
        sides = [_side_mm(case, name) for name in (left, right)]
        if None not in sides:
            wrong = sides[0] < sides[1]
            return f"{left} lies right of {right}: left and right are exchanged" if wrong else ""
    return ""


def _side_mm(case: UserCase, name: str) -> float | None:
    """Return how far left in the patient a mask lies; None if it is empty or unreadable."""
    try:
        path = next(path for path in case.labels.iterdir() if path.name.startswith(f"{name}."))
        mask = read_labels(path)
    except (UserError, OSError, StopIteration):
        return None
    index = np.argwhere(mask.array)
    return float(mask.geometry.to_lps_mm(index.mean(axis=0))[0]) if len(index) else None


def levels_text(levels: tuple[str, ...]) -> str:
    """Return levels as runs: ``T11-L5, Sacrum``."""
    order = [BY_VALUE[label.value].name for label in LABELS]
    runs: list[list[str]] = []
    for name in levels:
        usual = [n for n in order if n in levels or n not in ("T13", "L6")]
        follows = runs and usual.index(name) == usual.index(runs[-1][-1]) + 1
        if follows and name not in ("Sacrum", "Coccyx"):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
