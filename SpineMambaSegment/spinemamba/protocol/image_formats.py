"""Endings of the names of image files. Standard library only: a command parses its arguments first.

`imaging.formats.image_file` and `imaging.write` read and write them.
"""

from __future__ import annotations

IMAGE_KINDS = {
    ".nii.gz": "NIfTI",
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
"""Formats of images that are read, by ending."""

LABEL_FORMATS = (".seg.nrrd", ".nii.gz", ".nrrd", ".mha")
"""Endings of label images that are written."""
