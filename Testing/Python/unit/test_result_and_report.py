from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as png

from spinemamba.errors import UserError
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.report import spine_places, write_report
from spinemamba.result import InstanceResult, LabelingResult, Result, read_result

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
    ("Cut.",),
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


def test_a_result_survives_its_file(tmp_path: Path):
    RESULT.write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == RESULT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 9}, "schema 9"),
        ({"surprise": 1}, "surprise"),
        ({"instances": [{}]}, "missing"),
        ({"instances": [{**RESULT.to_json()["instances"][0], "name": "L2"}]}, "not L2"),
    ],
)
def test_a_damaged_result_is_refused_with_the_reason(tmp_path: Path, change: dict, says: str):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**RESULT.to_json(), **change}))
    with pytest.raises(UserError, match=says):
        read_result(path)


def test_the_line_through_the_spine_follows_it_and_goes_on_beyond_its_ends():
    painted = np.zeros((60, 40, 40), np.uint8)
    for z in range(10, 50):
        x = 5 + z // 2
        painted[z, 10:20, x : x + 5] = 20
    places = spine_places(painted)
    assert places[30, 1] == pytest.approx(22, abs=1.5)
    assert places[0, 1] == pytest.approx(places[9, 1], abs=3)
    assert (spine_places(np.zeros((5, 8, 6), np.uint8)) == (4, 3)).all()


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_the_report_is_a_picture_with_the_colours_of_the_levels(tmp_path: Path, modality: str):
    options = PhantomOptions(
        first="L1", last="L2", spacing_mm=(3.0, 3.0, 3.0), modality=modality, tight=True
    )
    phantom = make_phantom(3, options)
    path = tmp_path / "report.png"
    write_report(phantom.image, phantom.labels, replace(RESULT, modality=modality), path)
    picture = png.imread(path)[..., :3]
    assert picture.shape[0] > 500
    gray = np.abs(picture - picture.mean(axis=-1, keepdims=True)).max(axis=-1) < 0.05
    assert 0.005 < (~gray).mean() < 0.5
