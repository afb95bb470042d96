"""Vertebrae into files, one after another. 3D Slicer and the shell run the same steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_NAME, ORDER
from spinemamba.common.atomic_files import exists_error, sha256, write_together
from spinemamba.common.errors import Code, UserError
from spinemamba.common.folder_lock import locked
from spinemamba.export import names
from spinemamba.export.item import LeftOut, Vertebra, entry_of
from spinemamba.export.meshing import formats
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Draft, Mask, draft_of
from spinemamba.export.meshing.shared_borders import others_around, smooth_together
from spinemamba.export.meshing.smooth import Finished, finish, smooth
from spinemamba.export.meshing.vtk_surface import share_cores
from spinemamba.protocol.case_source import CaseSource
from spinemamba.protocol.manifest import (
    CSV,
    JSON,
    FileEntry,
    Manifest,
    VertebraEntry,
    read_manifest,
)

RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Target:
    """Where an export goes.

    Attributes:
        folder: An existing folder.
        case: Name of the case; made safe for file systems.
        overwrite: Whether files of the same case may be replaced.
        unreviewed_accepted: As in `Manifest`.
        left_out: Name and reason of what the segmentation holds beside vertebrae.
        source: What tells the case from others of the same safe name; None if that is not known.
    """

    folder: Path
    case: str = names.CASE
    overwrite: bool = False
    unreviewed_accepted: bool | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    source: CaseSource | None = None


@dataclass(frozen=True)
class Step:
    """How far an export is.

    Attributes:
        fraction: Share of the work that is done, in [0, 1].
        level: The vertebra that is worked on.
        written: Entry of a vertebra whose files have just appeared; None in between.
    """

    fraction: float
    level: str
    written: VertebraEntry | None = None


class Export:
    """An export that can be stopped between any two steps.

    Whenever it stops, each vertebra has all of its files or none, and the manifest tells which.
    Several exports of a case may write into one folder at the same time.

    Args:
        vertebrae: What to export; files are written in the order from head to tail.
        target: Where to.
        options: How surfaces are made.

    Attributes:
        manifest: What is there so far.
        left_out: Level and reason of each vertebra that this export could not write.
        existing: Files that will be replaced.

    Raises:
        UserError: If there is nothing to export, the folder is missing or holds another case, or
            files are there that must not be replaced (OUTPUT_BAD).
    """

    def __init__(self, vertebrae: Sequence[Vertebra], target: Target, options: MeshOptions):
        if not vertebrae:
            raise UserError("There is no vertebra to export.", "Segment a spine first.")
        self._vertebrae = sorted(vertebrae, key=lambda v: ORDER[v.level])
        self._target, self._options = target, options
        case = names.safe_case(target.case)
        stems = names.stems(case, [v.level for v in self._vertebrae])
        self._paths = [
            [target.folder / f"{stem}.{suffix}" for suffix in options.formats] for stem in stems
        ]
        self._case = case
        with locked(target.folder):  # while another export writes, the manifest may be missing
            before = _manifest_before(target.folder, case, target.source)
            self.existing = self._existing(before is not None)
        if self.existing and not target.overwrite:
            raise exists_error(self.existing)
        self._replaced = before.left_out if before else ()
        self.left_out: tuple[tuple[str, str], ...] = ()
        self.manifest = self._continued(before)

    @property
    def unreviewed(self) -> list[str]:
        """Levels that nobody has marked as completed."""
        return [v.level for v in self._vertebrae if not v.reviewed]

    def steps(self) -> Iterator[Step]:
        """Export, a piece of work at a time; closing the iterator stops.

        Raises:
            UserError: If a file cannot be written; vertebrae before it stay (OUTPUT_BAD,
                DISK_FULL).
        """
        share_cores()
        count = len(self._vertebrae)
        if self._options.joint and self._options.smoothing:
            surfaces = self._smoothed_together()
        else:
            surfaces = self._smoothed_one_by_one()
        for number, ready in enumerate(surfaces):
            vertebra = self._vertebrae[number]
            yield Step((number + 0.3) / count, vertebra.level)
            if isinstance(ready, str):
                self._leave_out(vertebra.level, ready)
                continue
            draft, smoothed, free = ready
            made = finish(draft, smoothed, self._options, free)
            yield Step((number + 0.8) / count, vertebra.level)
            entry = self._write(number, made)
            yield Step((number + 1) / count, vertebra.level, entry)

    def run(self) -> Manifest:
        """Do all steps and return what was exported; errors as `steps`."""
        for _ in self.steps():
            pass
        return self.manifest

    def _existing(self, is_same_case: bool) -> list[Path]:
        """Return the files that would be replaced; the manifest of the same case only grows."""
        wanted = [path for paths in self._paths for path in paths]
        if not is_same_case:
            wanted += [self._target.folder / name for name in (JSON, CSV)]
        return [path for path in wanted if path.exists()]

    def _smoothed_one_by_one(self) -> Iterator[tuple[Draft, Mesh, None] | str]:
        for vertebra in self._vertebrae:
            try:
                mask = _mask(vertebra)
            except LeftOut as reason:
                yield str(reason)
            else:
                draft = draft_of(mask, vertebra.place, self._options)
                yield draft, smooth(draft, self._options), None

    def _smoothed_together(self) -> Iterator[tuple[Draft, Mesh, np.ndarray] | str]:
        masks: dict[int, Mask] = {}
        reasons: dict[int, str] = {}
        for number, vertebra in enumerate(self._vertebrae):
            try:
                masks[number] = _mask(vertebra)
            except LeftOut as reason:
                reasons[number] = str(reason)
        others = others_around(list(masks.values()))
        drafts = [
            draft_of(mask, self._vertebrae[number].place, self._options, other)
            for (number, mask), other in zip(masks.items(), others, strict=True)
        ]
        smoothed = smooth_together(drafts, self._options.smoothing) if drafts else []
        ready = iter(zip(drafts, smoothed, strict=True))
        for number in range(len(self._vertebrae)):
            if number in reasons:
                yield reasons[number]
            else:
                draft, (mesh, own) = next(ready)
                yield draft, mesh, own

    def _continued(self, there: Manifest | None) -> Manifest:
        """Return the manifest of a folder as it is before this export adds to it."""
        target = self._target
        there = there or Manifest(self._case)
        own = (*target.left_out, *self.left_out)
        # What another export has left out since this one began stays.
        others = tuple(x for x in there.left_out if x not in own and x not in self._replaced)
        return replace(
            there,
            left_out=own + others,
            unreviewed_accepted=target.unreviewed_accepted,
            source=target.source or there.source,
        )

    def _leave_out(self, level: str, reason: str) -> None:
        self.left_out = (*self.left_out, (level, reason))
        self._write_files({})

    def _write(self, number: int, made: Finished) -> VertebraEntry:
        """Write all files of a vertebra and the manifest that tells of them, or nothing."""
        vertebra, options = self._vertebrae[number], self._options
        mesh = made.mesh
        if options.space == "RAS":
            mesh = mesh.moved_to(mesh.points_mm * RAS_FROM_LPS)
        color = BY_NAME[vertebra.level].color
        data = {
            path: formats.encode(mesh, path.suffix[1:], options.space, color)
            for path in self._paths[number]
        }
        files = tuple(_file_entry(path, content) for path, content in data.items())
        entry = entry_of(vertebra, made, files, options)
        self._write_files(data, entry)
        return entry

    def _write_files(self, data: dict[Path, bytes], entry: VertebraEntry | None = None) -> None:
        """Write files with the manifest, which another export may have changed meanwhile."""
        folder = self._target.folder
        with locked(folder):
            manifest = self._continued(_manifest_before(folder, self._case, self._target.source))
            if entry is not None:
                manifest = manifest.with_vertebra(entry)
            texts = {folder / name: text for name, text in manifest.contents().items()}
            replaceable = [*texts, *(data if self._target.overwrite else ())]
            write_together({**data, **texts}, replaceable)
        self.manifest = manifest


def _manifest_before(folder: Path, case: str, source: CaseSource | None) -> Manifest | None:
    """Return the manifest that this export goes on with; None if there is none.

    Raises:
        UserError: If the folder is missing, or its manifest belongs to another case (OUTPUT_BAD).
    """
    if not folder.is_dir():
        raise UserError(
            f"The folder does not exist: {folder}.", "Create it first.", Code.OUTPUT_BAD
        )
    before = read_manifest(folder)
    if before is None:
        return None
    if before.case != case:
        raise UserError(
            f"The folder holds an export of the case '{before.case}'.",
            "Choose another folder, so that no file is without its manifest.",
            Code.OUTPUT_BAD,
        )
    if source and before.source and (difference := before.source.difference(source)):
        raise UserError(
            f"The folder already holds the case '{case}' of another input: {difference}.",
            "Choose another folder, so that patients are not mixed.",
            Code.OUTPUT_BAD,
        )
    return before


def _mask(vertebra: Vertebra) -> Mask:
    """Return the voxels of a vertebra.

    Raises:
        LeftOut: If there are none, or they lie where files cannot tell them apart.
    """
    mask = vertebra.load()
    if not np.any(mask.voxels):
        raise LeftOut("It is empty.")
    corner = np.array([mask.first_xyz], float)
    places_mm = vertebra.place(corner + np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    step_mm = np.linalg.norm(places_mm[1:] - places_mm[0], axis=1).min()
    far_mm = np.abs(places_mm).max()
    if not np.spacing(np.float32(far_mm)) < step_mm / 2:
        raise LeftOut(
            f"It lies {far_mm / 1e6:.3g} km from the origin, where 32-bit coordinates are coarser "
            "than its voxels."
        )
    return mask


def _file_entry(path: Path, data: bytes) -> FileEntry:
    kind = path.suffix[1:]
    return FileEntry(path.name, kind, formats.UNITS[kind], len(data), sha256(data))
