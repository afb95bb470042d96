"""DICOM series with faulty headers or bytes are read correctly or refused with a message.

What is right is what pydicom reads from the same files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ELSE, REFUSED, RIGHT, Record

from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume

pytest.importorskip("pydicom")
import synthetic_dicom as synthetic

pytestmark = pytest.mark.faults

MUTATIONS = 40
LIMIT_BYTES, LIMIT_SECONDS = 4 << 30, 60
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
MULTI_FRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
Edit = synthetic.Edit


def at(slices: range, edit: Edit) -> Edit:
    """Return an edit of some slices only."""
    return lambda k, data: edit(k, data) if k in slices else None


def frames(k: int, data: Any) -> None:
    """Turn a slice into a file with several frames."""
    data.NumberOfFrames = 12
    data.PixelData = data.PixelData * 12


def in_groups(k: int, data: Any) -> None:
    """Move the geometry of several frames into functional groups, as enhanced CT does."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    frames(k, data)
    data.SOPClassUID = ENHANCED_CT
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = data.PixelSpacing, 2.0
    orientation.ImageOrientationPatient = data.ImageOrientationPatient
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence([])
    for number in range(data.NumberOfFrames):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2.0 * number]
        frame.PlanePositionSequence = Sequence([position])
        data.PerFrameFunctionalGroupsSequence.append(frame)
    for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(data, keyword)


def turned(axes_lps: np.ndarray) -> Edit:
    """Return an edit that rotates a stack; the rows are the directions of x and y."""

    def edit(k: int, data: Any) -> None:
        place_mm = np.array(synthetic.ORIGIN_LPS_MM) + synthetic.STEP_MM * k * np.cross(*axes_lps)
        data.ImageOrientationPatient = axes_lps.ravel().tolist()
        data.ImagePositionPatient = [round(float(value), 6) for value in place_mm]

    return edit


def moved(k: int, data: Any) -> None:
    """Shift a slice within its plane."""
    x, y, z = data.ImagePositionPatient
    data.ImagePositionPatient = [x + 30, y, z]


ALWAYS = {
    f"SOP class {uid}": synthetic.put(SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{uid}")
    for uid in (
        "2",  # CT
        "4",  # MR
        "1",  # computed radiography
        "1.1",  # digital radiography
        "7",  # secondary capture
        "7.3",  # multi-frame secondary capture, here with one frame
        "12.1",  # angiography
        "13.1.1",  # 3-D angiography
        "481.1",  # RT image
        "481.2",  # RT dose
        "128",  # PET
        "6.1",  # ultrasound
        "2.1",  # enhanced CT, here with the geometry of a plain one
    )
}
READ = ALWAYS | {
    "no SOP class": synthetic.put(SOPClassUID=""),
    "no fault": synthetic.put(),
    "wrong SpacingBetweenSlices": synthetic.put(SpacingBetweenSlices=7.0),
    "negative SpacingBetweenSlices": synthetic.put(SpacingBetweenSlices=-2.0),
    "no SliceThickness": synthetic.put(SliceThickness=None),
    "ImagerPixelSpacing beside PixelSpacing": synthetic.put(ImagerPixelSpacing=[0.3, 0.3]),
    "PixelAspectRatio beside PixelSpacing": synthetic.put(PixelAspectRatio=[1, 1]),
    "slope that changes": lambda k, data: synthetic.put(RescaleSlope=1 + 0.37 * k)(k, data),
    "intercept that appears later": at(range(1), synthetic.put(RescaleIntercept=0)),
    "signed from the second slice on": at(range(1, 99), synthetic.put(PixelRepresentation=1)),
    "no slope": synthetic.put(RescaleSlope=None),
    "spaces around numbers": synthetic.put(PixelSpacing=" 1.5 \\ 0.75 "),
    "rounded orientation": synthetic.put(ImageOrientationPatient=[1, 0, 0, 0, 1, 1e-5]),
    "sagittal": turned(np.array([[0, 1, 0], [0, 0, -1]])),
    "coronal": turned(np.array([[1, 0, 0], [0, 0, -1]])),
    "oblique": turned(np.array([[0.8, 0.6, 0], [-0.48, 0.64, 0.6]])),
}
REFUSALS = {
    "no PixelSpacing": (synthetic.put(PixelSpacing=None), "does not state its pixel size"),
    "empty PixelSpacing": (synthetic.put(PixelSpacing=""), "does not state its pixel size"),
    "one PixelSpacing": (synthetic.put(PixelSpacing="1.5"), "does not state its pixel size"),
    "PixelSpacing 0": (synthetic.put(PixelSpacing="0\\0"), "does not state its pixel size"),
    "negative PixelSpacing": (
        synthetic.put(PixelSpacing="-1.5\\0.75"),
        "does not state its pixel size",
    ),
    "PixelSpacing nan": (synthetic.put(PixelSpacing="nan\\nan"), "does not state its pixel size"),
    "PixelSpacing missing in one": (
        at(range(5, 6), synthetic.put(PixelSpacing=None)),
        "1 of its 12 slices",
    ),
    "only ImagerPixelSpacing": (
        synthetic.put(PixelSpacing=None, ImagerPixelSpacing=[0.3, 0.3]),
        "ImagerPixelSpacing is not the size in the patient",
    ),
    "only NominalScannedPixelSpacing": (
        synthetic.put(PixelSpacing=None, NominalScannedPixelSpacing=[0.3, 0.3]),
        "NominalScannedPixelSpacing is not the size in the patient",
    ),
    "PixelSpacing that changes": (
        at(range(6, 99), synthetic.put(PixelSpacing=[0.75, 0.375])),
        "PixelSpacing: 1.5 x 0.75 and 0.75 x 0.375 mm",
    ),
    "rows exchanged with columns": (
        at(range(6, 99), synthetic.put(Rows=synthetic.COLUMNS, Columns=synthetic.ROWS)),
        "differ in Rows: 1[04] and 1[04]",
    ),
    "orientation that changes": (
        at(range(8, 12), synthetic.put(ImageOrientationPatient=[0, 1, 0, 1, 0, 0])),
        "4 of its 12 slices are not parallel",
    ),
    "orientation not at right angles": (
        synthetic.put(ImageOrientationPatient=[1, 0, 0, 0.1, 0.995, 0]),
        "not a pair of orthogonal directions",
    ),
    "orientation of length 2": (
        synthetic.put(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]),
        "not a pair of orthogonal directions",
    ),
    "no orientation": (synthetic.put(ImageOrientationPatient=None), "no position or orientation"),
    "no position": (synthetic.put(ImagePositionPatient=None), "no position or orientation"),
    "position inf": (
        synthetic.put(ImagePositionPatient="0\\0\\1e400"),
        "no position or orientation",
    ),
    "a slice moved aside": (at(range(4, 6), moved), "shifted by up to 30.0 mm"),
    "inverted from one slice on": (
        at(range(3, 99), synthetic.put(PhotometricInterpretation="MONOCHROME1")),
        "PhotometricInterpretation: MONOCHROME[12] and MONOCHROME[12]",
    ),
    "inverted display": (
        synthetic.put(PhotometricInterpretation="MONOCHROME1"),
        "stored as MONOCHROME1",
    ),
    "slope 0": (synthetic.put(RescaleSlope=0), "no valid RescaleSlope"),
    "slope of letters": (synthetic.put(RescaleSlope="one"), "no valid RescaleSlope"),
    "intercept of letters": (
        synthetic.put(RescaleIntercept="-1024,x"),
        "no valid RescaleIntercept",
    ),
    "more bits than there are": (synthetic.put(BitsStored=17), "no valid BitsStored"),
    "neither signed nor unsigned": (synthetic.put(PixelRepresentation=2), "PixelRepresentation"),
    "frames with one position": (at(range(1), frames), "several slices"),
    "enhanced CT": (in_groups, "several slices .Enhanced CT, 12 in all"),
    "multi-frame capture": (
        lambda k, data: (frames(k, data), synthetic.put(SOPClassUID=MULTI_FRAME_CAPTURE)(k, data)),
        "Multi-frame Secondary Capture",
    ),
}


def is_right(folder: Path) -> bool:
    """Return whether a folder is read as pydicom reads all of its files."""
    image = read_volume(folder)
    values, spacing_mm, first_lps_mm = synthetic.expected(sorted(folder.iterdir()))
    return (
        image.array.shape == values.shape
        and np.allclose(image.array, values, rtol=1e-6, atol=1e-3)
        and np.allclose(image.spacing_mm, spacing_mm, atol=1e-6)
        and np.allclose(image.geometry.origin_lps_mm, first_lps_mm, atol=1e-6)
    )


@pytest.mark.parametrize("name", READ)
def test_unusual_series_are_read_as_their_tags_state(name: str, tmp_path: Path, outcome: Record):
    synthetic.write_series(tmp_path, edit=READ[name])
    right = is_right(tmp_path)
    outcome("DICOM header", RIGHT if right else ELSE)
    assert right


@pytest.mark.parametrize("name", REFUSALS)
def test_series_with_an_undefined_geometry_are_refused(
    name: str, tmp_path: Path, outcome: Record, capfd: pytest.CaptureFixture[str]
):
    edit, sentence = REFUSALS[name]
    one_file = name in ("enhanced CT", "multi-frame capture")
    synthetic.write_series(tmp_path, synthetic.stored_values()[:1] if one_file else None, edit)
    refusal = None
    try:
        read_volume(tmp_path)
    except UserError as error:
        refusal = error
    outcome("DICOM header", REFUSED if refusal else ELSE)
    assert refusal
    assert re.search(sentence, refusal.message), refusal.message
    assert refusal.remedy
    assert capfd.readouterr().err == ""


CHILD = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume
for folder in map(Path, sys.argv[2:]):
    warned = []
    try:
        image = read_volume(folder, warned.append)
    except UserError as error:
        answer = {"refused": str(error)}
    except BaseException as error:
        answer = {"raised": repr(error)}
    else:
        place = folder.with_suffix(".npy")
        import numpy
        numpy.save(place, image.array)
        grid = image.geometry
        answer = {"warned": warned, "spacing": grid.spacing_mm, "first": grid.origin_lps_mm}
    print(json.dumps([folder.name, answer]), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of memory there")
def test_series_with_mutated_bytes_are_read_correctly_or_refused(
    tmp_path: Path, outcome: Record, repository: Path
):
    folders = [tmp_path / f"{seed:02d}" for seed in range(MUTATIONS)]
    for seed, folder in enumerate(folders):
        mutate(folder, np.random.default_rng(seed))
    answers = read_apart(folders, repository)
    wrong = {}
    for folder in folders:
        kind = judged(folder, answers.get(folder.name, {}))
        outcome("DICOM bytes", kind)
        if kind == ELSE:
            wrong[folder.name] = answers.get(folder.name, "the process ended")
    assert not wrong


def mutate(folder: Path, rng: np.random.Generator) -> None:
    """Write a series and change one to eight random bytes of one of its files."""
    synthetic.write_series(folder)
    path = sorted(folder.iterdir())[rng.integers(synthetic.SLICES)]
    data = bytearray(path.read_bytes())
    for place in rng.integers(132, len(data), rng.integers(1, 9)):
        data[place] = rng.integers(256)
    path.write_bytes(data)


def read_apart(folders: list[Path], repository: Path) -> dict[str, dict]:
    """Read folders in a process with limits; a folder that ends the process has no answer."""
    answers: dict[str, dict] = {}
    left = list(folders)
    environment = os.environ | {"PYTHONPATH": str(repository / "SpineMambaSegment")}
    while left:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(LIMIT_BYTES), *map(str, left)],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
            env=environment,
        )
        lines = done.stdout.splitlines()
        answers |= dict(json.loads(line) for line in lines)
        left = left[len(lines) + 1 :]
    return answers


def judged(folder: Path, answer: dict[str, Any]) -> str:
    """Return the outcome for a folder; slices may only be left out with a warning."""
    if "refused" in answer:
        return REFUSED
    if "spacing" not in answer:
        return ELSE
    array = np.load(folder.with_suffix(".npy"))
    files = list(folder.iterdir())
    if len(array) < len(files):
        files = [path for path in files if belongs(path)]
        if not answer["warned"]:
            return ELSE
    try:
        values, spacing_mm, first_lps_mm = synthetic.expected(files)
    except Exception:  # pydicom reads fewer files than GDCM
        restored = [restore(path) for path in files]
        values, spacing_mm, first_lps_mm = synthetic.expected(restored)
    right = (
        array.shape == values.shape
        and np.allclose(array, values)
        and np.allclose(answer["spacing"], spacing_mm)
        and np.allclose(answer["first"], first_lps_mm)
    )
    return RIGHT if right else ELSE


def restore(path: Path) -> Path:
    """Return a file with the unchanged header and the mutated pixels, which come last."""
    count = 2 * synthetic.ROWS * synthetic.COLUMNS
    header = unchanged(path.parent, [path])[0].read_bytes()[:-count]
    restored = path.parent.parent / f"restored-{path.parent.name}-{path.name}"
    restored.write_bytes(header + path.read_bytes()[-count:])
    return restored


def belongs(path: Path) -> bool:
    """Return whether a file is one of the unchanged series."""
    return path.read_bytes() == unchanged(path.parent, [path])[0].read_bytes()


def unchanged(folder: Path, files: list[Path]) -> list[Path]:
    """Return the same files before their mutation."""
    original = folder.parent / "unchanged"
    if not original.exists():
        synthetic.write_series(original)
    return [original / path.name for path in files]
