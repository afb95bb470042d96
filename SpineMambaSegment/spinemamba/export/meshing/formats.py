"""Encode a surface as STL, PLY, OBJ or GLB.

VTK's writers are not used: they report no error when a disk fills up, and bytes in memory can be
hashed before they are written. The tests read all formats back with other libraries.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

_STL_HEADER = 80
_GLB_MAGIC, _GLB_VERSION = b"glTF", 2
_FLOAT, _UNSIGNED = 5126, 5125
"""Component types of glTF 2.0: 32-bit float and unsigned integer."""

UNITS = {"stl": "mm", "ply": "mm", "obj": "mm", "glb": "m"}
"""Unit of length in each format; glTF requires metres."""

_LPS_TO_GLTF = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) / 1000
_RAS_TO_GLTF = np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]) / 1000
"""glTF: metres, y upwards, z towards the viewer, so that a standing patient faces the viewer."""


def encode(mesh: Mesh, format_: str, space: str, color: tuple[int, int, int]) -> bytes:
    """Return the bytes of a surface file.

    Args:
        mesh: The surface, in ``space``.
        format_: One of `UNITS`.
        space: "LPS" or "RAS"; written if the format can store it.
        color: Red, green, blue, 0 to 255; written if the format has colours.
    """
    writers: dict[str, Callable[..., bytes]] = {"stl": stl, "ply": ply, "obj": obj, "glb": glb}
    return writers[format_](mesh, space, color)


def stl(mesh: Mesh, space: str, color: tuple[int, int, int], note: str = "") -> bytes:
    """Return a binary STL file; 3D Slicer reads ``SPACE=`` in its header.

    A note, such as a warning, follows in the header; longer ones than fit are cut off.
    """
    facets = np.zeros(
        len(mesh.triangles),
        [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")],
    )
    lengths = np.linalg.norm(mesh.area_vectors_mm2, axis=1, keepdims=True)
    facets["normal"] = mesh.area_vectors_mm2 / np.maximum(lengths, 1e-12)
    facets["corners"] = mesh.corners_mm
    # Slicer reads the word after "SPACE=", up to white space.
    header = f"SpineMamba Segment, mm, SPACE={space} {note}".encode("ascii")
    header = header[:_STL_HEADER].ljust(_STL_HEADER)
    return header + struct.pack("<I", len(facets)) + facets.tobytes()


def ply(mesh: Mesh, space: str, color: tuple[int, int, int]) -> bytes:
    """Return a binary PLY file with one colour; 3D Slicer reads ``SPACE=`` in its comment."""
    points = np.zeros(len(mesh.points_mm), [("place", "<f4", 3), ("color", "u1", 3)])
    points["place"], points["color"] = mesh.points_mm, color
    faces = np.zeros(len(mesh.triangles), [("count", "u1"), ("points", "<i4", 3)])
    faces["count"], faces["points"] = 3, mesh.triangles
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment SPACE={space}",
        f"element vertex {len(points)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(lines).encode() + points.tobytes() + faces.tobytes()


def obj(mesh: Mesh, space: str, color: tuple[int, int, int]) -> bytes:
    """Return a Wavefront OBJ file; 3D Slicer reads ``SPACE=`` in its first line."""
    points = "".join(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in mesh.points_mm.tolist())
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in (mesh.triangles + 1).tolist())
    return f"# SPACE={space}, mm\n{points}{faces}".encode()


def glb(mesh: Mesh, space: str, color: tuple[int, int, int]) -> bytes:
    """Return a binary glTF 2.0 file: metres, y upwards, as viewers expect.

    Khronos Group, glTF 2.0 specification, sections 4.4 (GLB) and 5.
    """
    turn = _LPS_TO_GLTF if space == "LPS" else _RAS_TO_GLTF
    places = (mesh.points_mm @ turn.T).astype("<f4")
    normals = (mesh.point_normals() @ turn.T * 1000).astype("<f4")
    parts = [places.tobytes(), normals.tobytes(), mesh.triangles.astype("<u4").tobytes()]
    sizes = [len(part) for part in parts]
    low, high = (extreme(places, axis=0).tolist() for extreme in (np.min, np.max))
    vector = {"componentType": _FLOAT, "count": len(places), "type": "VEC3"}
    number = {"componentType": _UNSIGNED, "count": mesh.triangles.size, "type": "SCALAR"}
    shape = {"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2, "material": 0}
    # Convert from display (sRGB) to linear intensity, which glTF uses.
    light = [round((channel / 255) ** 2.2, 4) for channel in color]
    paint = {"baseColorFactor": [*light, 1.0], "metallicFactor": 0.0}
    scene = {
        "asset": {"version": "2.0", "generator": "SpineMamba Segment"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [shape]}],
        "materials": [{"pbrMetallicRoughness": paint}],
        "accessors": [
            {**vector, "bufferView": 0, "min": low, "max": high},
            {**vector, "bufferView": 1},
            {**number, "bufferView": 2},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": sum(sizes[:k]), "byteLength": sizes[k]} for k in range(3)
        ],
        "buffers": [{"byteLength": sum(sizes)}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", b"".join(parts), b"\0")
    return _GLB_MAGIC + struct.pack("<II", _GLB_VERSION, 12 + len(chunks)) + chunks


def _chunk(kind: bytes, data: bytes, filler: bytes) -> bytes:
    """Return a chunk of a GLB file, padded to a multiple of four bytes."""
    data += filler * (-len(data) % 4)
    return struct.pack("<I", len(data)) + kind + data
