"""Training cases from public scans and label maps in a data folder, with their licences.

Cases that are kept for testing are listed only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import Tissue, paint_ct
from spinemamba.training.data.dataset import Case, make_case, sample_nearest

TEST_ONLY = ("verse012", "tptbox")
"""Cases that are never used for training."""

PAIRS = {
    "lidc0001": ("lidc/lidc0001_ct.nii.gz", "lidc/lidc0001_seg.nii.gz"),
    "ts_example": (
        "totalsegmentator/ts_example_ct.nii.gz",
        "totalsegmentator/ts_example_seg.nii.gz",
    ),
    "verse005": ("verse/verse005_ct.nii.gz", "verse/verse005_seg.nii.gz"),
    "verse006": ("verse/verse006_ct.nii.gz", "verse/verse006_seg.nii.gz"),
    "verse008": ("verse/verse008_ct.nii.gz", "verse/verse008_seg.nii.gz"),
}
"""Images with labels."""

COMPLETE = ("lidc0001", "ts_example")
"""Pairs in which every visible vertebra is labelled."""

MASKS = {
    name: f"verse/{name}_maskonly_seg.nii.gz"
    for name in ("gl003", "verse004", "verse009", "verse010")
}
"""Label maps without an image; their images are painted."""

SOURCES = {
    ("verse", "gl003"): "VerSe, CC BY-SA 4.0 (Sekuboyina et al., 10.1016/j.media.2021.102166; "
    "Loeffler et al., 10.1148/ryai.2020190138; Liebl et al., 10.1038/s41597-021-01060-0)",
    (
        "lidc",
    ): "LIDC-IDRI, CC BY 3.0 (Armato et al., Med Phys 38:915; 10.7937/K9/TCIA.2015.LO9QL9SX; "
    "NCI and FNIH; TCIA, 10.1007/s10278-013-9622-7), labels made with TotalSegmentator, MIT",
    (
        "ts_example",
    ): "TotalSegmentator test files, Apache-2.0 (Wasserthal et al., Radiology AI 2023)",
    ("phantom",): "synthetic spines of this package, Apache-2.0",
    ("composed",): "synthetic spines composed of vertebrae of VerSe (CC BY-SA 4.0) and lidc0001 "
    "(LIDC-IDRI, CC BY 3.0; labels made with TotalSegmentator)",
}
"""Source and licence of cases, by the beginning of their names."""

BONE_HU = 120
MARGIN_MM = 30.0
MASK_SPACING_MM = 1.0
"""Voxel spacing of the tissue map around a mask; finer than that of the networks."""


def public_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each public case in the data folder, by case name."""
    files = {name: [folder / path for path in pair] for name, pair in PAIRS.items()}
    return files | {name: [folder / path] for name, path in MASKS.items()}


def load_public_cases(
    folder: Path, spacing_mm: float, names: Collection[str], report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield public training cases.

    Args:
        folder: Data folder.
        spacing_mm: Voxel spacing of the network.
        names: Names of the cases to read.
        report: Receives the name of each case.

    Raises:
        UserError: If a file is missing or damaged.
    """
    for name, (image_path, labels_path) in PAIRS.items():
        if name not in names:
            continue
        report(name)
        image = canonical(read_volume(folder / image_path))[0]
        labels = as_labels(canonical(read_volume(folder / labels_path))[0])
        if name in COMPLETE:
            yield make_case(name, labels, spacing_mm, image=image)
        else:
            image, labels = pad(image, 0), pad(labels, 0)
            unknown = unlabelled_bone(image, labels)
            outside = pad_mask(labels)
            unknown = labels.with_array((unknown | outside).astype(np.uint8))
            yield make_case(name, labels, spacing_mm, image=image, unknown=unknown)
    for name, path in MASKS.items():
        if name not in names:
            continue
        report(name)
        labels = as_labels(canonical(read_volume(folder / path))[0])
        grid = grid_with_spacing(labels.geometry, MASK_SPACING_MM)
        labels = pad(Volume(sample_nearest(labels, grid), grid), 0)
        tissues = tissues_around(labels)
        painted = tissues.with_array(paint_ct(tissues, np.random.default_rng(len(name))))
        yield make_case(name, labels, spacing_mm, image=painted, tissues=tissues)


def attributions(names: list[str]) -> tuple[str, ...]:
    """Return one sentence for each source of the named cases, with its licence."""
    out = []
    for beginnings, source in SOURCES.items():
        if cases := [name for name in names if name.startswith(beginnings)]:
            # The names of phantoms are only numbers.
            phantoms = all(name.startswith(("phantom", "composed")) for name in cases)
            out.append(f"{source}." if phantoms else f"{source}: {', '.join(cases)}.")
    known = tuple(beginning for beginnings in SOURCES for beginning in beginnings)
    if count := sum(not name.startswith(known) for name in names):
        out.append(f"{count} cases of the user's own, under their own terms.")
    return tuple(out)


def merged(*sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sentences of several trainings without duplicates, in order."""
    return tuple(dict.fromkeys(sentence for each in sources for sentence in each))


def as_labels(volume: Volume) -> Volume:
    """Return label values as uint8."""
    return volume.with_array(volume.array.astype(np.uint8))


def pad(volume: Volume, value: int) -> Volume:
    """Return the volume padded by `MARGIN_MM` on each side."""
    margin = _margin_vox(volume.geometry)
    array = np.pad(volume.array, [(m, m) for m in margin], constant_values=value)
    origin = volume.geometry.to_lps_mm(-np.asarray(margin))
    g = volume.geometry
    return Volume(array, Geometry(array.shape, g.spacing_mm, tuple(origin), g.direction_lps))


def pad_mask(padded: Volume) -> np.ndarray:
    """Return a mask of the voxels that `pad` added, in the padded shape."""
    outside = np.ones(padded.array.shape, bool)
    outside[tuple(slice(m, -m) for m in _margin_vox(padded.geometry))] = False
    return outside


def _margin_vox(geometry: Geometry) -> list[int]:
    return [round(MARGIN_MM / s) for s in geometry.spacing_mm]


def unlabelled_bone(image: Volume, labels: Volume) -> np.ndarray:
    """Return a mask of bright voxels without a label.

    In scans with labels for a part of the spine, the sacrum and the neighbours above and below
    have no label. They must not be learned as background.
    """
    bright = (image.array > BONE_HU) & (labels.array == 0)
    near_label = ndimage.binary_dilation(labels.array > 0, iterations=2)
    bright &= ~near_label
    return ndimage.binary_dilation(bright, iterations=2) & (labels.array == 0)


def tissues_around(labels: Volume) -> Volume:
    """Return a tissue map for a mask without an image: bone, canal, muscle and fat.

    Bone is cortical to a depth of 1.2 mm. The canal is background that bone encloses in an axial
    slice. Muscle extends to 25 mm from bone, surrounded by fat.
    """
    bone = labels.array > 0
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    outside_mm = ndimage.distance_transform_edt(~bone, labels.spacing_mm)
    tissues = np.where(outside_mm < 25, Tissue.MUSCLE, Tissue.FAT).astype(np.uint8)
    for k in range(bone.shape[0]):
        enclosed = ndimage.binary_fill_holes(bone[k]) & ~bone[k]
        tissues[k][enclosed] = Tissue.CANAL
    tissues[_between_bodies(labels)] = Tissue.DISC
    tissues[bone] = Tissue.TRABECULAR
    tissues[bone & (depth_mm < 1.2)] = Tissue.CORTICAL
    return labels.with_array(tissues)


def _between_bodies(labels: Volume) -> np.ndarray:
    """Return a mask of the discs: the gaps that a closing of the thick parts of bone fills."""
    bone = (labels.array > 0) & (labels.array != BY_NAME["Sacrum"].value)
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    grown = ndimage.distance_transform_edt(depth_mm < 5, labels.spacing_mm) < 9
    closed = ndimage.distance_transform_edt(grown, labels.spacing_mm) > 6
    return closed & ~bone
