"""Export vertebrae as surface files, one after another. Used by 3D Slicer and the shell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_NAME, ORDER
from spinemamba.common.atomic_files import exists_error, sha256, write_together
from spinemamba.common.errors import Code, UserError
from spinemamba.common.locks import wait_for_lock
from spinemamba.export import names
from spinemamba.export.item import LeftOut, Vertebra, manifest_entry
from spinemamba.export.meshing import formats
from spinemamba.export.meshing.crumbs import without_crumbs
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask, RawSurface, make_raw_surface
from spinemamba.export.meshing.shared_borders import neighbour_masks, smooth_together
from spinemamba.export.meshing.smooth import FinishedSurface, finish, smooth
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

_RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Target:
    """Destination of an export.

    Attributes:
        folder: An existing folder.
        case: Name of the case; converted to a safe file name.
        overwrite: Whether files of the same case may be replaced.
        unreviewed_accepted: As in `Manifest`.
        left_out: Name and reason of segments that are not vertebrae.
        source: Distinguishes the case from others with the same safe name; None if unknown.
    """

    folder: Path
    case: str = names.CASE
    overwrite: bool = False
    unreviewed_accepted: bool | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    source: CaseSource | None = None


@dataclass(frozen=True)
class Step:
    """Progress of an export.

    Attributes:
        fraction: Completed share of the work, in [0, 1].
        level: The current vertebra.
        written: Entry of a vertebra whose files were written in this step, else None.
    """

    fraction: float
    level: str
    written: VertebraEntry | None = None


class Export:
    """An export that can be stopped between any two steps.

    At any time, each vertebra has all of its files or none, and the manifest lists the complete
    ones. Several exports of a case may write to one folder at the same time.

    Args:
        vertebrae: Vertebrae to export; files are written from cranial to caudal.
        target: Destination.
        options: Options of the surfaces.

    Attributes:
        manifest: Manifest of the files written so far.
        left_out: Level and reason of each vertebra that this export could not write.
        existing: Files that will be replaced.

    Raises:
        UserError: If there is nothing to export, the folder is missing or has another case, or
            existing files must not be replaced (OUTPUT_BAD).
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
        with wait_for_lock(
            target.folder
        ):  # the manifest may be missing while another export writes
            before = _manifest_before(target.folder, case, target.source)
            self.existing = self._existing(before is not None)
        if self.existing and not target.overwrite:
            raise exists_error(self.existing)
        self._replaced = before.left_out if before else ()
        self.left_out: tuple[tuple[str, str], ...] = ()
        self.manifest = self._updated_manifest(before)

    @property
    def unreviewed(self) -> list[str]:
        """Levels that are not marked as completed."""
        return [v.level for v in self._vertebrae if not v.reviewed]

    def steps(self) -> Iterator[Step]:
        """Export in small steps. Closing the iterator stops the export.

        Raises:
            UserError: If a file cannot be written (OUTPUT_BAD, DISK_FULL). Vertebrae written before
                are kept.
        """
        share_cores()
        count = len(self._vertebrae)
        if self._options.joint and self._options.smoothing:
            surfaces = self._smoothed_together()
        else:
            surfaces = self._smoothed_separately()
        for number, ready in enumerate(surfaces):
            vertebra = self._vertebrae[number]
            yield Step((number + 0.3) / count, vertebra.level)
            if isinstance(ready, str):
                self._leave_out(vertebra.level, ready)
                continue
            raw_surface, smoothed, free = ready
            surface = finish(raw_surface, smoothed, self._options, free)
            surface = without_crumbs(surface, self._options.crumbs_mm3)
            yield Step((number + 0.8) / count, vertebra.level)
            entry = self._write(number, surface)
            yield Step((number + 1) / count, vertebra.level, entry)

    def run(self) -> Manifest:
        """Run all steps and return the manifest. Errors as in `steps`."""
        for _ in self.steps():
            pass
        return self.manifest

    def _existing(self, is_same_case: bool) -> list[Path]:
        """Return the files that would be replaced. A manifest of the same case is extended."""
        paths = [path for paths in self._paths for path in paths]
        if not is_same_case:
            paths += [self._target.folder / name for name in (JSON, CSV)]
        return [path for path in paths if path.exists()]

    def _smoothed_separately(self) -> Iterator[tuple[RawSurface, Mesh, None] | str]:
        for vertebra in self._vertebrae:
            try:
                mask = _mask(vertebra)
            except LeftOut as reason:
                yield str(reason)
            else:
                raw_surface = make_raw_surface(mask, vertebra.place, self._options)
                yield raw_surface, smooth(raw_surface, self._options), None

    def _smoothed_together(self) -> Iterator[tuple[RawSurface, Mesh, np.ndarray] | str]:
        masks: dict[int, Mask] = {}
        reasons: dict[int, str] = {}
        for number, vertebra in enumerate(self._vertebrae):
            try:
                masks[number] = _mask(vertebra)
            except LeftOut as reason:
                reasons[number] = str(reason)
        others = neighbour_masks(list(masks.values()))
        raw_surfaces = [
            make_raw_surface(mask, self._vertebrae[number].place, self._options, other)
            for (number, mask), other in zip(masks.items(), others, strict=True)
        ]
        smoothed = smooth_together(raw_surfaces, self._options.smoothing) if raw_surfaces else []
        ready = iter(zip(raw_surfaces, smoothed, strict=True))
        for number in range(len(self._vertebrae)):
            if number in reasons:
                yield reasons[number]
            else:
                raw_surface, (mesh, unshared) = next(ready)
                yield raw_surface, mesh, unshared

    def _updated_manifest(self, before: Manifest | None) -> Manifest:
        """Return the manifest of a folder with the metadata of this export."""
        target = self._target
        before = before or Manifest(self._case)
        left_out = (*target.left_out, *self.left_out)
        # Keep entries that another export has added since this one began.
        others = tuple(x for x in before.left_out if x not in left_out and x not in self._replaced)
        return replace(
            before,
            left_out=left_out + others,
            unreviewed_accepted=target.unreviewed_accepted,
            source=target.source or before.source,
        )

    def _leave_out(self, level: str, reason: str) -> None:
        self.left_out = (*self.left_out, (level, reason))
        self._write_files({})

    def _write(self, number: int, surface: FinishedSurface) -> VertebraEntry:
        """Write all files of a vertebra and the manifest, or nothing."""
        vertebra, options = self._vertebrae[number], self._options
        mesh = surface.mesh
        if options.space == "RAS":
            mesh = mesh.moved_to(mesh.points_mm * _RAS_FROM_LPS)
        color = BY_NAME[vertebra.level].color
        data = {
            path: formats.encode(mesh, path.suffix[1:], options.space, color)
            for path in self._paths[number]
        }
        files = tuple(_file_entry(path, content) for path, content in data.items())
        entry = manifest_entry(vertebra, surface, files, options)
        self._write_files(data, entry)
        return entry

    def _write_files(self, data: dict[Path, bytes], entry: VertebraEntry | None = None) -> None:
        """Write files and the manifest, which another export may have changed in the meantime."""
        folder = self._target.folder
        with wait_for_lock(folder):
            manifest = self._updated_manifest(
                _manifest_before(folder, self._case, self._target.source)
            )
            if entry is not None:
                manifest = manifest.with_vertebra(entry)
            texts = {folder / name: text for name, text in manifest.contents().items()}
            replaceable = [*texts, *(data if self._target.overwrite else ())]
            write_together({**data, **texts}, replaceable)
        self.manifest = manifest


def _manifest_before(folder: Path, case: str, source: CaseSource | None) -> Manifest | None:
    """Return the manifest that this export extends, or None.

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
        LeftOut: If it is empty, or too far from the origin for 32-bit coordinates.
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
