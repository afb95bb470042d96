"""Print the errors of pedicles on analytic vertebrae, and the corridors of real label maps.

``python Testing/Benchmarks/run.py pedicles [DRAWS] [--real N] [--pictures DIR]`` draws vertebrae
with pedicles of known axis and size on rotated grids of clinical spacing, and prints the errors. It
then plans real label maps and prints, for each, how many pedicles were found, how many axes stay
in bone from cortex to cortex, how many corridors were suggested, and their grades. Pictures show
each corridor in an oblique axial and an oblique sagittal section.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from analytic_pedicles import draw_vertebra, random_grid, random_vertebra
from public_cases import data_folder
from scipy import ndimage

from spinemamba.imaging.read import read_volume
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.measure.frame import unit
from spinemamba.parts.sections import Line, Tube
from spinemamba.planning.breach import Bone, Shaft, tested
from spinemamba.planning.plan_spine import PlannedSpine, PlannedVertebra, plan_spine
from spinemamba.protocol.planning.plan import SIDES, Pedicle

REAL = (
    ("lidc/lidc0001_seg.nii.gz", "lidc/lidc0001_ct.nii.gz"),
    ("verse/verse005_seg.nii.gz", "verse/verse005_ct.nii.gz"),
    ("totalsegmentator/ts_example_seg.nii.gz", "totalsegmentator/ts_example_ct.nii.gz"),
    ("verse/verse008_seg.nii.gz", "verse/verse008_ct.nii.gz"),
    ("verse/verse010_maskonly_seg.nii.gz", ""),
    ("verse/verse009_maskonly_seg.nii.gz", ""),
)
_BARS = {"width mm": 0.7, "height mm": 0.7, "axis deg": 3.0}
_PIN_MM = 1.0
"""Diameter of the pin along the axis that has to stay in bone."""

_END_MM = 2.5
"""Its distance from the anterior cortex, which is oblique to the axis."""


def main(words: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("pedicles", description=__doc__)
    parser.add_argument("draws", nargs="?", type=int, default=40, help="vertebrae (%(default)s)")
    parser.add_argument("--real", type=int, default=len(REAL), help="label maps (%(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    args = parser.parse_args(words)
    errors = [row for seed in range(args.draws) for row in errors_of(seed)]
    print_errors(errors, 2 * args.draws)
    line = "{:28} {:>8} {:>6} {:>12} {:>9} {:>7}  {}\n"
    heads = ("labels", "pedicles", "found", "axis in bone", "suggested", "narrow", "grades")
    sys.stdout.write(line.format(*heads))
    for labels, image in REAL[: args.real]:
        planned = planned_case(data_folder() / labels, data_folder() / image if image else None)
        sys.stdout.write(line.format(Path(labels).name[:28], *map(str, counts_of(planned))))
        if args.pictures:
            draw_case(planned, args.pictures, Path(labels).name.split("_")[0])
    return 0


def errors_of(seed: int) -> list[tuple[float, float, float]]:
    """Return the errors of width, height (mm) and axis (degrees) of both pedicles found."""
    vertebra = random_vertebra(seed)
    planned = plan_spine(draw_vertebra(vertebra, *random_grid(seed)))
    rows = []
    for k, pedicle in enumerate(planned.plan.pedicles):
        tube = planned.vertebrae[0].tubes.get(pedicle.side)
        if tube is None:
            continue
        true = vertebra.pedicles[k]
        field = planned.vertebrae[0].bone.field
        forward = (tube.line.forward @ field.frame.axes_lps) @ planned.turn
        angle = np.degrees(np.arccos(np.clip(forward @ vertebra.axis_lps(k), -1, 1)))
        width, height = tube.width_mm - true.width_mm, tube.height_mm - true.height_mm
        rows.append((width, height, float(angle)))
    return rows


def print_errors(errors: list[tuple[float, float, float]], count: int) -> None:
    """Print a table of the errors."""
    sys.stdout.write(f"{len(errors)} of {count} analytic pedicles found\n")
    line = "{:10} {:>6} {:>7} {:>6} {:>6} {:>9}\n"
    sys.stdout.write(line.format("error", "mean", "median", "p95", "max", "in bar"))
    for (what, bar), values in zip(_BARS.items(), np.array(errors).T, strict=True):
        off = np.abs(values)
        cells = (values.mean(), np.median(off), np.percentile(off, 95), off.max())
        share = f"{100 * (off <= bar).mean():.0f} %"
        sys.stdout.write(line.format(what, *(f"{cell:.2f}" for cell in cells), share))


def planned_case(labels: Path, image: Path | None) -> PlannedSpine:
    """Plan a real case."""
    volume = read_vertebra_labels(labels).volume
    ct = None if image is None or not image.exists() else read_volume(image)
    return plan_spine(volume, ct, "" if ct is None else "ct")


def counts_of(planned: PlannedSpine) -> tuple[int, int, str, int, int, str]:
    """Return pedicles, found ones, axes in bone, corridors, too narrow ones, and grades."""
    pedicles = [p for one in planned.vertebrae if one.bone for p in one.pedicles]
    found = [p for p in pedicles if p.width_mm is not None]
    safe = sum(
        axis_in_bone(one.bone, tube, 1.0 if side == SIDES[0] else -1.0)
        for one in planned.vertebrae
        for side, tube in one.tubes.items()
    )
    made = [p.suggestion for p in found if p.suggestion]
    narrow = sum("narrow" in p.reasons.get("suggestion", "") for p in found)
    grades = Counter(corridor.grade for corridor in made)
    text = " ".join(f"{grade}{count}" for grade, count in sorted(grades.items()))
    share = f"{safe}/{len(found)}"
    return len(pedicles), len(found), share, len(made), narrow, text


def axis_in_bone(bone: Bone, tube: Tube, side: float) -> bool:
    """Return whether a pin along the axis stays in bone, from behind the isthmus to the front."""
    try:
        entry, front = bone.chord(tube.line)
    except ValueError:
        return False
    reaches = tube.line.at(front)[1] < 0
    shaft = Shaft(tube.line, entry, front - _END_MM, _PIN_MM)
    corridor = tested(bone, shaft, "suggested", side)
    return bool(reaches and corridor.breach_mm == 0 and corridor.in_canal_mm == 0)


def draw_case(planned: PlannedSpine, folder: Path, name: str) -> None:
    """Draw all pedicles of a case, ten in a picture."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    pedicles = [(one, p) for one in planned.vertebrae for p in one.pedicles if p.side in one.tubes]
    for first in range(0, len(pedicles), 10):
        some = pedicles[first : first + 10]
        figure, axes = plt.subplots(4, 5, figsize=(15, 12), squeeze=False)
        for k, (one, pedicle) in enumerate(some):
            column, row = k % 5, 2 * (k // 5)
            draw_pedicle(planned, one, pedicle, (axes[row][column], axes[row + 1][column]))
        for axis in axes.ravel():
            axis.set_axis_off()
        figure.tight_layout()
        figure.savefig(folder / f"{name}_{first // 10}.png", dpi=70)
        plt.close(figure)


def draw_pedicle(
    planned: PlannedSpine, one: PlannedVertebra, pedicle: Pedicle, axes: tuple[object, object]
) -> None:
    """Draw oblique sections through a corridor, or through the axis if there is none."""
    bone, tube = one.bone, one.tubes[pedicle.side]
    line, size = tube.line, 0.0
    corridor = pedicle.suggestion
    if corridor is not None:
        ends = [bone.field.frame.to_local(np.array(p)) for p in _ends(planned, corridor)]
        line, size = Line(ends[0], unit(ends[1] - ends[0])), corridor.diameter_mm
    ticks = np.arange(-32, 62, 0.4)
    across = np.arange(-34, 34, 0.4)
    zero = 0.0 if corridor else -20.0
    for axis, direction, title in zip(axes, line.across(), ("axial", "sagittal"), strict=True):
        points = line.at(ticks + zero)[None] + across[:, None, None] * direction
        world = bone.field.frame.to_lps(points)
        grid = planned.spine.labels.geometry.to_index_zyx(world)
        source = planned.spine.ct or planned.spine.labels
        values = ndimage.map_coordinates(
            source.array.astype(np.float32), np.moveaxis(grid, -1, 0), order=1, cval=-1000
        )
        low, high = (-200, 900) if planned.spine.ct else (0, 28)
        extent = (ticks[0] + zero, ticks[-1] + zero, across[0], across[-1])
        axis.imshow(values, cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
        depth = bone.field.at(points)
        axis.contour(ticks + zero, across, depth, [0], colors="lime", linewidths=0.7)
        if bone.canal is not None and title == "axial":
            inside = bone.canal.depth_mm(points)
            axis.contour(ticks + zero, across, inside, [0], colors="red", linewidths=0.7)
        last = corridor.length_mm if corridor else 40
        for offset in (-size / 2, size / 2):
            axis.plot([0, last], [offset, offset], color="cyan", linewidth=0.9)
        what = f"{size:g} x {last:.0f}" if corridor else "too narrow"
        axis.set_title(f"{pedicle.name} {title} {what}", fontsize=9)


def _ends(planned: PlannedSpine, corridor: object) -> list[np.ndarray]:
    return [np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)]
