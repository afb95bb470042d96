"""Entry of the module in Slicer's module Sample Data.

The image is a file of the extension: it needs neither a network nor the packages of the worker.
It could not be made on demand, because the bytes that a phantom compresses to depend on versions
of libraries, and Sample Data compares a hash.
"""

from __future__ import annotations

import types
from pathlib import Path

_RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
FILE = _RESOURCES / "SampleData" / "SpineMambaPhantomCT.nrrd"
SHA256 = "SHA256:0099f6b21e7b6cbd952396fc7e19c7d4b0ae77a9a42ea294503e9255678a742c"
_CATEGORY = "SpineMamba Segment"
_NAME = "SpineMambaPhantomCT"
_ICON = _RESOURCES / "Icons" / "SpineMambaSegment.png"


def register(sampleData: types.ModuleType) -> None:
    """Offer a synthetic CT of T11 to L4; it shows no patient.

    Args:
        sampleData: Slicer's module ``SampleData``.
    """
    sampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_CATEGORY,
        sampleName=_NAME,
        uris=FILE.as_uri(),
        fileNames=FILE.name,
        nodeNames=_NAME,
        checksums=SHA256,
        thumbnailFileName=str(_ICON),
        loadFileTypes="VolumeFile",
    )
