"""Store the vertebrae of a plan, so that lines can be tested again in another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinemamba.imaging.volume import Geometry
from spinemamba.measure.frame import Frame
from spinemamba.parts.bone_field import BoneField
from spinemamba.planning.breach import Bone
from spinemamba.planning.canal import Canal

_UNIT_MM = 0.01
"""Unit of the stored depths, 16-bit integers."""

_MOST_MM = 300.0


@dataclass(frozen=True)
class StoredBones:
    """Vertebrae of a plan.

    Attributes:
        bones: By level, in the coordinates of the standing spine.
        turn: Rotation from the header's LPS to the standing spine, (3, 3).
    """

    bones: dict[str, Bone]
    turn: np.ndarray


def write_bones(bones: Mapping[str, Bone], turn: np.ndarray, path: Path) -> None:
    """Write vertebrae to an ``.npz`` file without pickled objects."""
    arrays = {"turn": turn}
    for level, bone in bones.items():
        depth = np.clip(bone.field.depth_mm, -_MOST_MM, _MOST_MM) / _UNIT_MM
        arrays[f"{level}/depth"] = np.rint(depth).astype(np.int16)
        arrays[f"{level}/place"] = np.array(
            [
                *bone.field.first_mm,
                *bone.field.frame.centre_lps_mm,
                *bone.field.frame.axes_lps.ravel(),
                bone.half_depth_mm,
            ]
        )
        if bone.canal is not None:
            arrays[f"{level}/canal"] = np.array([*bone.canal.middle_mm, *bone.canal.radii_mm])
    with path.open("wb") as file:
        np.savez(file, **arrays)


def read_bones(path: Path) -> StoredBones:
    """Read what `write_bones` wrote.

    Raises:
        ValueError: If the file is damaged.
    """
    bones = {}
    with np.load(path, allow_pickle=False) as file:
        turn = file["turn"]
        for name in file.files:
            level, _, what = name.partition("/")
            if what != "depth":
                continue
            depth = file[name].astype(np.float32) * np.float32(_UNIT_MM)
            place = file[f"{level}/place"]
            frame = Frame(place[3:6], place[6:15].reshape(3, 3))
            canal = None
            if f"{level}/canal" in file.files:
                values = file[f"{level}/canal"]
                canal = Canal(values[:2], values[2:])
            # The mask is needed to find pedicles only, not to test lines.
            grid = Geometry((0, 0, 0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
            field = BoneField(frame, place[:3], depth, np.zeros((0, 0, 0), bool), grid)
            bones[level] = Bone(field, float(place[15]), canal)
    return StoredBones(bones, turn)
