"""The result file is unchanged after writing and reading, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spinemamba.common.errors import UserError
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result, read_result

INSTANCE = InstanceResult(
    1,
    20,
    "L1",
    0.9,
    (("T12", 0.1),),
    (0.5, 0.5),
    (1.0, 2.0, 3.0),
    33.0,
    False,
    ("left",),
    (Flag("volume_outlier", 0.4, "Small."), Flag("cut_by_image", None, "Cut.")),
)
RESULT = Result(
    run_id="r",
    model_name="m",
    model_version="1",
    model_hash="h",
    package_version="0",
    device="cpu",
    scan_backend="torch-chunked",
    modality="ct",
    seconds={"locate": 1.5},
    shape=(3, 4, 5),
    spacing_mm=(1.0, 1.0, 2.0),
    origin_lps_mm=(0.0, 0.0, 0.0),
    direction_lps=tuple(np.eye(3).ravel()),
    instances=(INSTANCE,),
    labelings=(LabelingResult(("L1",), 0.9), LabelingResult((None,), 0.1)),
    ambiguous=True,
    warnings=("Look.",),
)


def test_a_result_is_unchanged_after_writing_and_reading(tmp_path: Path):
    RESULT.write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == RESULT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 9}, "schema 9"),
        ({"surprise": 1}, "surprise"),
        ({"instances": [{}]}, "missing"),
        ({"instances": [{**RESULT.to_json()["instances"][0], "name": "L2"}]}, "not L2"),
        ({"instances": [{**RESULT.to_json()["instances"][0], "flags": [{}]}]}, "sentence"),
    ],
    ids=["schema", "unknown field", "missing field", "level", "flag"],
)
def test_a_damaged_result_is_refused_with_the_reason(tmp_path: Path, change: dict, says: str):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**RESULT.to_json(), **change}))
    with pytest.raises(UserError, match=says):
        read_result(path)
