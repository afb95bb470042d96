"""Print Dice coefficients of the parts of vertebrae.

``python Testing/Benchmarks/run.py parts [SEEDS]`` compares

- real vertebrae with the sub-region labels of TPTBox (CT and MR), where pedicles and laminae are
  one part;
- phantoms of the neck, chest and lumbar spine, on voxels of 1 mm and with slices of 2.5 mm, with
  the solids they are drawn with; see `exact_parts`.

It also times the division of a whole chest (19 levels).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from exact_parts import GROUPS, SEPARATE, TPTBOX, dice, exact_parts, scores, voxels_of
from public_cases import data_folder

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.parts import CANAL, DISC, LEVEL_FACTOR, part_value
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.parts.spine import divide_spine
from spinemamba.phantom import PhantomOptions, make_phantom

_REGIONS = (("C3", "C7"), ("T1", "T6"), ("T7", "T12"), ("L1", "L5"))
_SPACINGS = ((1.0, 1.0, 1.0), (2.5, 0.8, 0.8))
_MR_LEVELS = {5: "L2", 6: "L3", 7: "L4"}
"""Levels given to the instances of the MR, which have numbers only."""


def main(words: list[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser("parts", description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=3, help="phantoms (%(default)s)")
    args = parser.parse_args(words)
    data = data_folder()
    has_data = data.is_dir()
    if has_data:
        sys.stdout.write("L3 against TPTBox's sub-regions\n")
        _print({kind: _of_tptbox(data, kind) for kind in ("ct", "mr")})
    sys.stdout.write("\nPhantoms against their exact parts (mean over vertebrae)\n")
    rows = {
        f"{first}-{last} {spacing[0]:g}x{spacing[1]:g} mm": _mean(
            list(_of_phantoms(args.seeds, (first, last), spacing))
        )
        for spacing in _SPACINGS
        for first, last in _REGIONS
    }
    _print(rows)
    if has_data:
        labels = read_labels(data / "lidc" / "lidc0001_seg.nii.gz")
        started = time.process_time()
        divide_spine(labels)
        sys.stdout.write(f"\nlidc0001: {time.process_time() - started:.1f} s of processor time\n")
    return 0


def _of_tptbox(data: Path, kind: str) -> dict[str, float]:
    """Return the scores of the complete vertebra, and on MR of disc and canal below it."""
    folder = data / "tptbox"
    truth = read_labels(folder / f"{kind}_subregion_seg.nii.gz").array
    labels = read_labels(folder / f"{kind}_{'vertebra' if kind == 'ct' else 'instance'}_seg.nii.gz")
    instances = labels.array
    if kind == "mr":
        named = np.zeros(instances.shape, np.uint8)
        for instance, level in _MR_LEVELS.items():
            named[instances == instance] = BY_NAME[level].value
        labels = Volume(named, labels.geometry)
    done = divide_spine(labels).labels.array
    whole = labels.array == BY_NAME["L3"].value
    found = done[whole] % LEVEL_FACTOR
    out = {
        name: dice(
            np.isin(found, [part.value for part in parts]), np.isin(truth[whole], TPTBOX[name])
        )
        for name, parts in GROUPS.items()
    }
    if kind == "mr":
        canal = done == CANAL.value
        along = int(np.argmax(np.ptp(np.argwhere(canal), axis=0)))
        others = tuple(axis for axis in range(3) if axis != along)
        shown = canal.any(axis=others, keepdims=True)
        out["disc"] = dice(done == part_value("L3", DISC), instances == 106)
        out["canal"] = dice(canal, np.isin(truth, (60, 61)) & shown)
    return out


def _of_phantoms(
    seeds: int, levels: tuple[str, str], spacing_mm: tuple[float, float, float]
) -> Iterator[dict[str, float]]:
    """Yield the scores of each vertebra of phantoms."""
    first, last = levels
    for seed in range(seeds):
        options = PhantomOptions(first=first, last=last, spacing_mm=spacing_mm, tight=True)
        phantom = make_phantom(seed, options)
        done = divide_spine(phantom.labels)
        for vertebra in done.vertebrae:
            index = voxels_of(phantom, vertebra.vertebra.name)
            found = done.labels.array[tuple(index.T)] % LEVEL_FACTOR
            yield scores(found, exact_parts(phantom, vertebra.vertebra.name, index), SEPARATE)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def _print(columns: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table with a row per part, and the mean of the parts of a vertebra."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    width = max(map(len, names))
    heads = "  ".join(f"{head:>14}" for head in columns)
    sys.stdout.write(f"{'':{width}}  {heads}\n")
    for name in names:
        cells = [f"{column[name]:.3f}" if name in column else "-" for column in columns.values()]
        sys.stdout.write(f"{name:{width}}  {'  '.join(f'{cell:>14}' for cell in cells)}\n")
    means = [
        np.nanmean([value for name, value in column.items() if name not in ("disc", "canal")])
        for column in columns.values()
    ]
    sys.stdout.write(f"{'mean':{width}}  {'  '.join(f'{mean:>14.3f}' for mean in means)}\n")
