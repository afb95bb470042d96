"""The result of a spine that other software has labelled: sizes, positions and quality flags.

No network is needed. Levels are those of the labels; level probabilities are uniform, so that the
level solver decides by sizes, distances and fixed levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.findings.level_flags import level_flags
from spinemamba.findings.shape_flags import mask_flags
from spinemamba.imaging.truncation import cut_sides_of_array
from spinemamba.imaging.volume import Geometry
from spinemamba.instances.find import Instance
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

UNIFORM = (1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS)
"""Level probabilities of a vertebra whose appearance no network has judged."""


@dataclass(frozen=True)
class LabelledVertebra:
    """A vertebra with a level.

    Attributes:
        level: Name of its level.
        mask: Its voxels, bool (z, y, x), a part of the image.
        first_zyx: Index of the first voxel of ``mask`` in the image.
    """

    level: str
    mask: np.ndarray
    first_zyx: tuple[int, int, int]


def result_of(
    vertebrae: Sequence[LabelledVertebra], geometry: Geometry, source: str = ""
) -> Result:
    """Return a result for labels of any source.

    Args:
        vertebrae: Vertebrae with at least one voxel, in any order.
        geometry: Grid of the image.
        source: Name of the labels' source, used as the name of the model.

    Returns:
        A result without a run. Instances are numbered from head to tail.
    """
    parts = [_instance(0, vertebra, geometry) for vertebra in vertebrae]
    order = sorted(range(len(parts)), key=lambda k: -parts[k].centroid_lps_mm[2])
    chosen = [vertebrae[k] for k in order]
    items = [_instance(n, vertebra, geometry) for n, vertebra in enumerate(chosen, start=1)]
    names = tuple(vertebra.level for vertebra in chosen)
    by_level = level_flags(items, names, [(1.0, 0.0)] * len(items), [0.0] * len(items))
    instances = tuple(
        InstanceResult(
            id=item.id,
            label=BY_NAME[vertebra.level].value,
            name=vertebra.level,
            posterior=1.0,
            alternatives=(),
            level_probabilities=item.level_probabilities,
            centroid_lps_mm=item.centroid_lps_mm,
            volume_ml=item.volume_ml,
            complete=not item.cut_sides,
            cut_sides=item.cut_sides,
            flags=(*flags, *mask_flags(vertebra.mask)),
            is_sacrum=item.is_sacrum,
        )
        for item, vertebra, flags in zip(items, chosen, by_level, strict=True)
    )
    return Result(
        run_id="", model_name=source, model_version="", model_hash="",
        package_version=__version__, device="", scan_backend="", modality="ct", seconds={},
        shape=geometry.shape, spacing_mm=geometry.spacing_mm,
        origin_lps_mm=geometry.origin_lps_mm,
        direction_lps=tuple(float(v) for v in np.ravel(geometry.direction_lps)),
        instances=instances, labelings=(LabelingResult(names, 1.0),), ambiguous=False, warnings=(),
    )  # fmt: skip


def _instance(number: int, vertebra: LabelledVertebra, geometry: Geometry) -> Instance:
    def place(ijk: np.ndarray) -> np.ndarray:
        return geometry.to_lps_mm(np.asarray(ijk)[..., ::-1])

    mask, first = vertebra.mask, vertebra.first_zyx
    index = np.argwhere(mask)
    image_xyz = tuple((0, length - 1) for length in geometry.shape[::-1])
    x, y, z = geometry.to_lps_mm(index.mean(axis=0) + first)
    return Instance(
        id=number,
        centroid_lps_mm=(float(x), float(y), float(z)),
        volume_ml=len(index) * geometry.voxel_ml,
        level_probabilities=UNIFORM,
        is_sacrum=vertebra.level == "Sacrum",
        cut_sides=cut_sides_of_array(mask, first[::-1], image_xyz, place),
    )
