"""Small data sets in the layouts of public ones, made of phantoms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import Phantom, PhantomOptions, make_phantom

LEVELS = ("L1", "L2", "L3")
"""Levels of the phantoms."""


@cache
def phantom(seed: int, modality: str = "ct", spacing_mm: float = 4.0) -> Phantom:
    """Return L1 to L3; it does not change, so that tests share it."""
    options = PhantomOptions(
        first="L1", last="L3", spacing_mm=(spacing_mm,) * 3, tight=True, modality=modality
    )
    return make_phantom(seed, options)


def save(volume: Volume, path: Path) -> Path:
    """Write an image; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(volume, path)
    return path


def renumbered(labels: Volume, values: Mapping[int, int]) -> Volume:
    """Return labels with other values; those that are not named become 0."""
    lookup = np.zeros(256, np.uint8)
    for old, new in values.items():
        lookup[old] = new
    return labels.with_array(lookup[labels.array])


def write_verse(folder: Path) -> Path:
    """Write VerSe's layout with official splits: two cases to train on, one of each other split."""
    parts = ("dataset-01training", "dataset-01training", "dataset-02validation", "dataset-03test")
    for seed, part in enumerate(parts, start=1):
        one, name = phantom(seed), f"sub-verse{seed:03d}"
        save(one.image, folder / part / "rawdata" / name / f"{name}_ct.nii.gz")
        labels = folder / part / "derivatives" / name / f"{name}_seg-vert_msk.nii.gz"
        save(one.labels, labels)
    return folder


def write_nnunet(folder: Path) -> Path:
    """Write nnU-Net's layout, with a canal and an ignore label; numbers run upwards."""
    values = {20: 3, 21: 2, 22: 1}
    for seed, ending in ((1, "Tr"), (2, "Tr"), (3, "Ts")):
        one = phantom(seed)
        labels = renumbered(one.labels, values)
        labels.array[0, 0, 0], labels.array[0, 0, 1] = 4, 5
        save(one.image, folder / f"images{ending}" / f"case{seed}_0000.nii.gz")
        save(labels, folder / f"labels{ending}" / f"case{seed}.nii.gz")
    about = {
        "channel_names": {"0": "CT"},
        "labels": {
            "background": 0,
            "vertebrae_L1": 3,
            "L02": 2,
            "lumbar_3": 1,
            "spinal_canal": 4,
            "ignore": 5,
        },
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def write_totalsegmentator(folder: Path) -> Path:
    """Write TotalSegmentator's layout: one mask per structure, and meta.csv."""
    rows = ["image_id;age;gender;split"]
    for seed, split in ((1, "train"), (2, "val"), (3, "test")):
        one, subject = phantom(seed), folder / f"s000{seed}"
        save(one.image, subject / "ct.nii.gz")
        for name in (*LEVELS, "T12"):
            mask = (one.labels.array == BY_NAME[name].value).astype(np.uint8)
            path = subject / "segmentations" / f"vertebrae_{name}.nii.gz"
            save(one.labels.with_array(mask), path)
        for name, columns in (("hip_left", slice(-4, None)), ("hip_right", slice(0, 4))):
            mask = np.zeros(one.labels.array.shape, np.uint8)
            mask[:, :, columns] = 1
            save(one.labels.with_array(mask), subject / "segmentations" / f"{name}.nii.gz")
        rows.append(f"{subject.name};60;m;{split}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_spider(folder: Path) -> Path:
    """Write SPIDER's layout: two sequences of each patient, L3 truncated, a canal and a disc."""
    rows = ["new_file_name,subset,num_vertebrae"]
    for seed, subset in ((1, "training"), (2, "validation")):
        one = phantom(seed, "mr")
        labels = renumbered(one.labels, {20: 5, 21: 4, 22: 103})
        labels.array[0, 0, :3] = (100, 201, 205)
        for sequence in ("t1", "t2_SPACE"):
            name = f"{seed}_{sequence}"
            save(one.image, folder / "images" / f"{name}.mha")
            save(labels, folder / "masks" / f"{name}.mha")
            rows.append(f"{name},{subset},7")
    (folder / "overview.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_ctspine1k(folder: Path) -> Path:
    """Write CTSpine1K's layout: images and labels of several sources, and data_split.txt."""
    names = {"liver_1": "trainset", "HN_P001": "test_public", "volume-covid19-A-1_ct": ""}
    lines = []
    for seed, (name, split) in enumerate(names.items(), start=1):
        source = "MSD-T10" if name.startswith("liver") else "OTHER"
        save(phantom(seed).image, folder / "volumes" / source / f"{name}.nii.gz")
        save(phantom(seed).labels, folder / "labels" / source / f"{name}_seg.nii.gz")
        lines += [f"{split or 'test_private'}:", f"{name}.nii.gz", ""]
    (folder / "data_split.txt").write_text("\n".join(lines))
    return folder


def write_spineps(folder: Path) -> Path:
    """Write SPINEPS' derivatives of two MR: vertebrae, discs (100 more), endplates (200 more)."""
    for seed in (1, 2):
        one, name = phantom(seed, "mr"), f"sub-{seed}"
        labels = one.labels.with_array(one.labels.array.copy())
        for value in (20, 21, 22):
            rows = np.flatnonzero((labels.array == value).any(axis=(1, 2)))
            top = labels.array[rows[-1]]
            top[top == value] = 200 + value
        labels.array[0, 0, 0] = 120
        save(one.image, folder / "rawdata" / name / f"{name}_T2w.nii.gz")
        derived = folder / "derivatives" / name
        save(labels, derived / f"{name}_mod-T2w_seg-vert_msk.nii.gz")
        regions = renumbered(one.labels, dict.fromkeys((20, 21, 22), 49))
        save(regions, derived / f"{name}_mod-T2w_seg-spine_msk.nii.gz")
    return folder


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "VerSe (BIDS)": write_verse,
    "nnU-Net (raw)": write_nnunet,
    "TotalSegmentator": write_totalsegmentator,
    "SPIDER": write_spider,
    "CTSpine1K": write_ctspine1k,
    "SPINEPS": write_spineps,
}
"""Writers by the name of the layout."""

IGNORE = {"nnU-Net (raw)": ("spinal_canal",)}
"""Labels that must be ignored by name."""

VALUES = tuple(value for value in BY_VALUE if BY_VALUE[value].name in LEVELS)
