"""Results of runs, made from labels without running the networks."""

from __future__ import annotations

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result


def result_of(labels: Volume, modality: str = "ct") -> Result:
    """Return the result of a run that found these labels, with a flag for each vertebra."""
    found = [value for value in BY_VALUE if (labels.array == value).any()]
    look = Flag("volume_outlier", 0.4, "Look. " * 20)
    instances = tuple(
        InstanceResult(
            k, v, BY_VALUE[v].name, 0.8, (), (), (0.0, 0.0, 0.0), 30.0, k > 1, (), (look,)
        )
        for k, v in enumerate(found, start=1)
    )
    names = LabelingResult(tuple(item.name for item in instances), 0.8)
    grid = labels.geometry
    return Result(
        *("run", "starter", "1", "ab-cd", "0.1", "cpu", "chunked", modality, {}),
        *(grid.shape, grid.spacing_mm, grid.origin_lps_mm, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)),
        *(instances, (names,), True, ("Check one level. " * 6,)),
    )
