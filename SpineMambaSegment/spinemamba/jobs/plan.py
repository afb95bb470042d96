"""Plan a label image: read files, find pedicles, test screws, write JSON, CSV, lines and solids."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinemamba.anatomy.label_schemes import VERSE, Numbering
from spinemamba.common.atomic_files import all_or_none, check_place, sha256
from spinemamba.common.errors import UserError
from spinemamba.common.progress import MEASURE, ignore
from spinemamba.common.progress import Progress as StageProgress
from spinemamba.export.meshing.formats import stl
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.truncation import without_padding
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.labelmaps.is_labelmap import check_image
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.parts.sections import Line
from spinemamba.planning.drill_guide import GuideOptions, drill_guide
from spinemamba.planning.given_screws import with_lines, with_metal
from spinemamba.planning.plan_spine import PlannedSpine, plan_spine
from spinemamba.planning.solids import cylinder
from spinemamba.planning.stored_bones import write_bones
from spinemamba.protocol.job import PlanJob
from spinemamba.protocol.planning.markups import lines_text, read_lines
from spinemamba.protocol.planning.plan import (
    GUIDE_NOTICE,
    NOTICE,
    PLAN,
    Plan,
    PlanFile,
    suggested_lines,
    table_of,
)
from spinemamba.protocol.planning.screws import USUAL, read_screws

_COLORS = {"corridor": (80, 160, 240), "guide": (230, 230, 230)}


@dataclass(frozen=True)
class PlanSources:
    """Input files of a plan.

    Attributes:
        labels: Label image.
        image: Image on the same grid, or None.
        modality: Modality of the image, one of `job.MODALITIES`.
        screws: Table of screws; None for the default.
        lines: Edited lines in Slicer's Markups JSON, or None.
        numbering: Label scheme; None to recognise it by anatomy.
        levels: Levels to plan; None for all.
        guide: Sizes of drill guides; None for no guides.
        metal: Whether screws are searched in the CT.
    """

    labels: Path
    image: Path | None = None
    modality: str = "auto"
    screws: Path | None = None
    lines: Path | None = None
    numbering: Numbering | None = None
    levels: Collection[str] | None = None
    guide: GuideOptions | None = None
    metal: bool = True


def plan_files(sources: PlanSources, progress: Callable[[str, float], None]) -> PlannedSpine:
    """Read the input files and plan.

    Raises:
        UserError: If an input cannot be read, does not match the labels, or no level is planned.
    """
    table = USUAL if sources.screws is None else read_screws(sources.screws)
    lines = None if sources.lines is None else read_lines(sources.lines)
    spine = read_vertebra_labels(sources.labels, sources.numbering)
    image, modality, notes = None, "", list(spine.notes)
    if sources.image is not None:
        image = read_volume(sources.image)
        check_image(image, sources.image.name)
        modality = choose_modality(without_padding(image), sources.modality, notes.append)
    planned = plan_spine(
        spine.volume, image, modality, sources.levels, table=table, progress=progress
    )
    if not planned.vertebrae:
        raise UserError(
            "None of the levels to plan is in the labels.",
            "Name levels that are there, C1 to L6, with --levels.",
        )
    if sources.metal:
        planned = replace(planned, plan=with_metal(planned))
    if lines is not None:
        planned = replace(planned, plan=with_lines(planned, lines))
    plan = replace(planned.plan, notes=(*notes, *planned.plan.notes))
    return replace(planned, plan=plan)


def run_plan(job: PlanJob, progress: StageProgress = ignore) -> None:
    """Plan, and write plan.json and the vertebrae for further tests, or neither.

    Args:
        job: Input and output files.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If an input is not usable, or an output cannot be written.
    """
    refuse_overwriting_inputs(job)
    for path in job.outputs:
        check_place(path, overwrite=job.overwrite)
    progress(MEASURE, 0.0)
    # The panel writes label images with VerSe's values.
    sources = PlanSources(job.input, job.image, job.modality, job.screws, numbering=VERSE)
    planned = plan_files(sources, lambda name, fraction: progress(MEASURE, fraction))
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        PLAN.write(planned.plan, partial[job.output])
        if job.bones is not None:
            write_bones(planned.bones, planned.turn, partial[job.bones])
    progress(MEASURE, 1.0)


def write_plan(
    planned: PlannedSpine,
    folder: Path,
    case: str,
    guide: GuideOptions | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Plan, list[Path]]:
    """Write all files of a plan, or none.

    Args:
        planned: The plan.
        folder: Folder of the files.
        case: Beginning of the file names.
        guide: Sizes of drill guides; None for no guides.
        overwrite: Whether existing files are replaced.

    Returns:
        The plan as written, and the paths.

    Raises:
        UserError: If a file exists, or cannot be written.
    """
    plan, solids = planned.plan, _corridors(planned.plan, case)
    if guide is not None:
        made, notes = guides_of(planned, guide)
        plan = replace(plan, notes=(*plan.notes, *notes))
        solids |= {f"{case}_{level}_guide.stl": ("guide", mesh) for level, mesh in made.items()}
    contents = {name: _solid(mesh, kind) for name, (kind, mesh) in solids.items()}
    entries = [_entry(name, *solids[name], contents[name]) for name in solids]
    plan = replace(plan, files=tuple(entries))
    texts = {
        f"{case}_plan.json": PLAN.to_text(plan, ascii_only=False),
        f"{case}_plan.csv": table_of(plan),
        f"{case}_plan.mrk.json": lines_text(suggested_lines(plan)),
        f"{case}_screws.csv": plan.screw_table.to_csv(),
    }
    contents |= {name: text.encode() for name, text in texts.items()}
    paths = [folder / name for name in contents]
    for path in paths:
        check_place(path, overwrite=overwrite)
    with all_or_none(paths, overwrite=overwrite) as partial:
        for path in paths:
            partial[path].write_bytes(contents[path.name])
    return plan, paths


def _corridors(plan: Plan, case: str) -> dict[str, tuple[str, Mesh]]:
    """Return kind and surface of each suggested corridor, by file name."""
    return {
        f"{case}_{p.level}_{p.side}_corridor.stl": ("corridor", cylinder(p.suggestion))
        for p in plan.pedicles
        if p.suggestion is not None
    }


def _entry(name: str, kind: str, mesh: Mesh, data: bytes) -> PlanFile:
    closed = mesh.edges.open == 0 and mesh.edges.non_manifold == 0
    return PlanFile(name, kind, sha256(data), closed, GUIDE_NOTICE if kind == "guide" else NOTICE)


def _solid(mesh: Mesh, kind: str) -> bytes:
    note = "NOT FOR USE IN PATIENTS" if kind == "guide" else "SUGGESTION, NOT CLINICAL"
    return stl(mesh, "LPS", _COLORS[kind], note)


def guides_of(planned: PlannedSpine, options: GuideOptions) -> tuple[dict[str, Mesh], list[str]]:
    """Return a drill guide for each level with two suggested corridors, and why others have none.

    The surfaces are in the header's LPS.
    """
    guides, notes = {}, []
    for one in planned.vertebrae:
        level = one.vertebra.name
        mine = [p for p in planned.plan.pedicles if p.level == level]
        corridors = [p.suggestion for p in mine if p.suggestion is not None]
        if one.bone is None or len(corridors) < 2:
            notes.append(f"{level} has no drill guide: a corridor is missing on a side.")
            continue
        frame = one.bone.field.frame
        lines, entries = [], []
        for corridor in corridors:
            entry, tip = (
                frame.to_local(planned.turn @ np.asarray(point))
                for point in (corridor.entry_lps_mm, corridor.tip_lps_mm)
            )
            lines.append(Line(entry, (tip - entry) / np.linalg.norm(tip - entry)))
            entries.append(0.0)
        try:
            mesh = drill_guide(one.bone.field, tuple(lines), tuple(entries), options)
        except ValueError as error:
            notes.append(f"{level} has no drill guide: {error}.")
            continue
        guides[level] = mesh.moved_to(mesh.points_mm @ planned.turn)
    return guides, notes
