"""Image headers that are incomplete, redundant, or misread by ITK."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRID = Geometry((9, 10, 11), (2.5, 0.75, 1.125), (-12.5, 3.25, 70.0), TURN)
VALUES = np.random.default_rng(0).integers(-900, 900, GRID.shape).astype(np.int16)
RAW = VALUES.astype("<i2").tobytes()
Edit = Callable[[bytes], bytes]


def put(code: str, at: int, *values: object) -> Edit:
    """Return an edit that packs values into the header of a NIfTI file."""

    def edit(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into("<" + code, out, at, *values)
        return bytes(out)

    return edit


def all_of(*edits: Edit) -> Edit:
    """Return an edit that makes several."""

    def edit(data: bytes) -> bytes:
        for one in edits:
            data = one(data)
        return data

    return edit


def swap(pattern: str, by: str) -> Edit:
    """Return an edit of a text header that must match."""

    def edit(data: bytes) -> bytes:
        out, count = re.subn(pattern.encode(), by.encode(), data, count=1)
        assert count == 1, pattern
        return out

    return edit


def scaled(factor: float) -> Geometry:
    """Return the grid with all lengths multiplied."""
    spacing, origin = (
        tuple(factor * v for v in row) for row in (GRID.spacing_mm, GRID.origin_lps_mm)
    )
    return Geometry(GRID.shape, spacing, origin, TURN)


def micrometres(data: bytes) -> bytes:
    """State the same lengths in micrometres."""
    for code, at in (("3f", 80), ("3f", 268), ("12f", 280)):
        lengths = [1000 * v for v in struct.unpack_from("<" + code, data, at)]
        data = put(code, at, *lengths)(data)
    return put("B", 123, 3)(data)


def saved_by_nibabel(data: bytes) -> bytes:
    """State an affine as nibabel does: aligned, no quaternion, no unit."""
    return all_of(put("2h", 252, 0, 2), put("6f", 256, *[0.0] * 6), put("B", 123, 0))(data)


NIFTI: dict[str, tuple[Edit, Geometry | str]] = {
    "as it is": (bytes, GRID),
    "sform alone, as nibabel writes it": (saved_by_nibabel, GRID),
    "qform alone": (all_of(put("2h", 252, 1, 0), put("12f", 280, *[0.0] * 12)), GRID),
    "micrometres": (micrometres, GRID),
    "no unit": (put("B", 123, 0), GRID),
    "seconds and mm": (put("B", 123, 10), GRID),
    "qform off by rounding": (put("f", 268, 12.5001), GRID),
    "pixdim off by rounding": (put("f", 80, 1.1251), GRID),
    "slope 0": (put("2f", 112, 0, 0), GRID),
    "slope not set": (put("2f", 112, np.nan, np.nan), GRID),
    "no orientation": (put("2h", 252, 0, 0), "qform_code and sform_code are 0"),
    "pixdim against sform": (put("f", 80, 1.0), "sform 1.125 x 0.75 x 2.5 and pixdim 1 x 0.75"),
    "pixdim 0": (put("f", 80, 0.0), "pixdim is 0 x"),
    "pixdim negative": (put("f", 80, -1.125), "pixdim is -1.125 x"),
    "pixdim NaN": (put("f", 80, np.nan), "pixdim is nan x"),
    "pixdim 0, qform alone": (all_of(put("2h", 252, 1, 0), put("f", 80, 0)), "pixdim is 0 x"),
    "sform NaN": (put("f", 280, np.nan), "sform is nan x"),
    "sform 0": (put("12f", 280, *[0.0] * 12), "sform is 0 x"),
    "qform shifted": (put("f", 268, 40), "sform -12.5, 3.25, 70 and qform -40, 3.25, 70"),
    "qform shifted by half a voxel": (put("f", 268, 12.0), "sform -12.5, .* and qform -12, "),
    "qform turned": (put("f", 256, 0.3), "how the image lies .*: sform .* and qform"),
    "qform mirrored": (put("f", 76, -1.0), "how the image lies .*: sform .* and qform"),
    "quaternion of no rotation": (put("f", 256, 1.3), "is not a rotation"),
    "sheared sform": (all_of(put("2h", 252, 0, 1), put("f", 284, 0.9)), "not at right angles"),
    "sform sheared a little": (all_of(put("2h", 252, 0, 1), put("f", 284, 0.4505)), "right angles"),
    "voxels in the header": (put("f", 108, 0.0), "cannot begin at byte 0"),
    "voxels a byte early": (put("f", 108, 351.0), "cannot begin at byte 351"),
    "voxels a byte late": (put("f", 108, 353.0), "holds 1979 of the 1980 bytes"),
    "type and bits differ": (put("h", 72, 8), "datatype 4 and bitpix 8"),
    "unknown type": (put("h", 70, 1536), "datatype 1536"),
    "one half of a pair": (put("4s", 344, b"ni1"), "cannot be read"),
    "Analyze": (put("4s", 344, b""), "cannot be read"),
    "NIfTI-2": (put("i", 0, 540), "NIfTI-2"),
    "shift without slope": (put("2f", 112, 0, 5), "scaled by 0 and 5"),
    "no axis": (put("h", 40, 0), "0 axes"),
    "negative size": (put("h", 42, -11), "cannot be read"),
    "too many voxels": (put("h", 46, 10), "cannot be read"),
    "too few voxels": (put("h", 46, 8), "more than the 1760 bytes"),
    "far too many voxels": (put("3h", 42, 1500, 1500, 700), "cannot be read"),
}
MATRIX, SPACING = "TransformMatrix = .*", "ElementSpacing = .*"
METAIMAGE: dict[str, tuple[Edit, Geometry | str]] = {
    "as it is": (bytes, GRID),
    "lines of Windows": (lambda data: data.replace(b"\n", b"\r\n"), GRID),
    "other names": (
        all_of(swap("Offset", "Position"), swap("TransformMatrix", "Rotation")),
        GRID,
    ),
    "centre of rotation": (swap("CenterOfRotation = 0 0 0", "CenterOfRotation = 5 6 7"), GRID),
    "size of an element": (swap("ElementSpacing", "ElementSize"), GRID),
    "the same twice": (swap("Offset", "Position = -12.5 3.25 70\nOffset"), GRID),
    "centimetres": (swap("DimSize", "DistanceUnits = cm\nDimSize"), scaled(10)),
    "inches": (swap("DimSize", "DistanceUnits = inch\nDimSize"), "lengths in 'inch'"),
    "no spacing": (swap(SPACING, "Comment = x"), "no ElementSpacing"),
    "spacing spelt otherwise": (swap("ElementSpacing", "elementspacing"), "no ElementSpacing"),
    "no origin": (swap("Offset", "Foo"), "no Offset"),
    "no direction": (swap(MATRIX, "Comment = x"), "no TransformMatrix"),
    "two spacings": (
        swap("ElementSpacing", "ElementSize = 2 2 2\nElementSpacing"),
        "ElementSpacing 1.125 x 0.75 x 2.5 and ElementSize 2 x 2 x 2",
    ),
    "two origins": (
        swap("Offset", "Position = 1 2 3\nOffset"),
        "Offset -12.5, 3.25, 70 and Position 1, 2, 3",
    ),
    "one field twice": (swap("Offset", "Offset = 1 2 3\nOffset"), "Offset twice: '1 2 3' and"),
    "spacing 0": (swap(SPACING, "ElementSpacing = 0 1 1"), "ElementSpacing is 0 x 1 x 1"),
    "spacing negative": (swap(SPACING, "ElementSpacing = -1 1 1"), "ElementSpacing is -1 x"),
    "two spacings for three axes": (swap(SPACING, "ElementSpacing = 1 1"), "3 numbers are needed"),
    "direction 0": (swap(MATRIX, "TransformMatrix = 0 0 0 0 0 0 0 0 0"), "right angles"),
    "values to be scaled": (
        swap("DimSize", "ElementToIntensityFunctionSlope = 2\nDimSize"),
        "scaled values are not supported",
    ),
    "two byte orders": (swap("DimSize", "ElementByteOrderMSB = True\nDimSize"), "two byte orders"),
    "voxels missing": (swap("DataFile = .*", "DataFile = no.raw"), "no.raw, is missing"),
    "voxels elsewhere": (swap("DataFile = .*", "DataFile = ../a.raw"), "outside of its folder"),
    "voxels in a folder below": (swap("DataFile = .*", "DataFile = sub/a.raw"), GRID),
    "voxels after others": (
        swap("ElementDataFile = .*", "HeaderSize = -1\nElementDataFile = late.raw"),
        GRID,
    ),
    "header before the voxels": (
        swap("ElementDataFile = .*", "HeaderSize = 7\nElementDataFile = late.raw"),
        GRID,
    ),
    "wrong header before the voxels": (
        swap("ElementDataFile = .*", "HeaderSize = 6\nElementDataFile = late.raw"),
        "more than the 1980 bytes",
    ),
    "list of slices": (
        swap("DataFile = .*", "DataFile = LIST\n" + "\n".join(f"s{k}.raw" for k in range(9))),
        GRID,
    ),
    "slice missing in the list": (
        swap("DataFile = .*", "DataFile = LIST\n" + "\n".join(f"s{k}.raw" for k in range(8))),
        "cannot be read",
    ),
    "numbered slices": (swap("DataFile = .*", "DataFile = s%d.raw 0 8 1"), GRID),
    "list of nothing": (swap("DataFile = .*", "DataFile = LIST"), "names no file"),
    "numbered otherwise": (swap("DataFile = .*", "DataFile = s%c.raw 0 8 1"), "names files as"),
    "numbered in steps of 0": (swap("DataFile = .*", "DataFile = s%d.raw 0 8 0"), "cannot be read"),
    "digits": (
        all_of(swap("BinaryData = True", "BinaryData = False"), swap("a.raw", "a.txt")),
        GRID,
    ),
    "too few digits": (
        all_of(swap("BinaryData = True", "BinaryData = False"), swap("a.raw", "few.txt")),
        "cannot be read",
    ),
}

DIRECTIONS = "space directions: .*"
NRRD: dict[str, tuple[Edit, Geometry | str]] = {
    "as it is": (bytes, GRID),
    "lines of Windows": (lambda data: data.replace(b"\n", b"\r\n"), GRID),
    "short name of the space": (swap("left-posterior-superior", "LPS"), GRID),
    "axes of the scanner": (swap("left-posterior-superior", "scanner-xyz"), GRID),
    "frame of measurement": (
        swap("kinds", "measurement frame: (1,0,0) (0,1,0) (0,0,1)\nkinds"),
        GRID,
    ),
    "millimetres": (swap("kinds", 'space units: "mm" "mm" "mm"\nkinds'), GRID),
    "centimetres": (swap("kinds", 'space units: "cm" "cm" "cm"\nkinds'), scaled(10)),
    "inches": (swap("kinds", 'space units: "in" "in" "in"\nkinds'), "lengths in in"),
    "two units": (swap("kinds", 'space units: "mm" "mm" "cm"\nkinds'), "lengths in cm and mm"),
    "nothing stated": (
        all_of(swap("space: .*\n", ""), swap(DIRECTIONS + "\n", ""), swap("space origin.*", "#")),
        "no space directions",
    ),
    "spacings alone": (
        all_of(
            swap("space: .*\n", ""), swap(DIRECTIONS, "spacings: 1 1 1"), swap("space o.*", "#")
        ),
        "how the image lies in the patient",
    ),
    "spacings beside directions": (
        swap("kinds", "spacings: 2 2 2\nkinds"),
        "cannot be|contradicts",
    ),
    "no origin": (swap("space origin.*", "#"), "no space origin"),
    "no space": (swap("space: .*", "space dimension: 3"), "such as left-posterior-superior"),
    "space of no patient": (swap("left-.*", "3D-right-handed"), "such as left-posterior-superior"),
    "direction 0": (swap(DIRECTIONS, "space directions: (0,0,0) (0,1,0) (0,0,1)"), "is 0 x 1 x 1"),
    "direction NaN": (swap(DIRECTIONS, "space directions: (nan,0,0) (0,1,0) (0,0,1)"), "nan"),
    "another origin": (swap("kinds", "space origin: (0,0,0)\nkinds"), "twice|contradicts"),
    "bzip2": (swap("encoding: raw", "encoding: bzip2"), "'bzip2' is not supported"),
    "voxels elsewhere": (swap("data file: .*", "data file: ../a.raw"), "outside of its folder"),
    "voxels missing": (swap("data file: .*", "data file: no.raw"), "no.raw, is missing"),
    "bytes to skip": (swap("data file: .*", "byte skip: 7\ndata file: late.raw"), GRID),
    "voxels at the end": (swap("data file: .*", "byte skip: -1\ndata file: late.raw"), GRID),
    "a line to skip": (swap("data file: .*", "line skip: 1\ndata file: late.raw"), GRID),
    "numbered slices": (swap("data file: .*", "data file: s%d.raw 0 8 1"), GRID),
    "list of slices": (
        swap("data file: .*\n", "data file: LIST\n" + "".join(f"s{k}.raw\n" for k in range(9))),
        GRID,
    ),
    "too few voxels stated": (swap("11 10 9", "11 10 8"), "more than the 1760 bytes"),
    "far too many voxels": (swap("11 10 9", "1500 1500 700"), "holds 1980 of the 3150000000"),
}
CASES = [
    (name, fault)
    for names, table in (
        (("a.nii", "a.nii.gz"), NIFTI),
        (("a.mhd",), METAIMAGE),
        (("a.nhdr",), NRRD),
    )
    for name in names
    for fault in table
]
TABLES = {"a.nii": NIFTI, "a.nii.gz": NIFTI, "a.mhd": METAIMAGE, "a.nhdr": NRRD}


def voxel_files(folder: Path) -> None:
    """Write the files that detached headers may name."""
    (folder / "sub").mkdir()
    text = " ".join(map(str, VALUES.ravel())) + "\n"
    files = {"a.raw": RAW, "sub/a.raw": RAW, "late.raw": b"a line\n" + RAW}
    files |= {"a.txt": text.encode(), "few.txt": text[:2500].encode()}
    files |= {f"s{k}.raw": RAW[k * 220 : (k + 1) * 220] for k in range(9)}
    (folder.parent / "a.raw").write_bytes(RAW)
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_header_is_read_as_it_states_or_refused(tmp_path: Path, name: str, fault: str, capfd):
    edit, wanted = TABLES[name][fault]
    folder = tmp_path / "case"
    folder.mkdir()
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing(GRID.spacing_mm[::-1])
    image.SetOrigin(GRID.origin_lps_mm)
    image.SetDirection(TURN.ravel().tolist())
    sitk.WriteImage(image, str(folder / name))
    data = (folder / name).read_bytes()
    data = edit(gzip.decompress(data) if name.endswith(".gz") else data)
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    voxel_files(folder)
    if isinstance(wanted, Geometry):
        volume = read_volume(folder / name)
        assert volume.geometry.difference(wanted) == ""
        assert np.array_equal(volume.array, VALUES)
    else:
        with pytest.raises(UserError, match=wanted) as caught:
            read_volume(folder / name)
        assert caught.value.code is Code.INPUT_BAD
        assert caught.value.message.endswith(".")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
