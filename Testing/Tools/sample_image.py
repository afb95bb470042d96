"""Make the image of the module Sample Data: `python Testing/Tools/sample_image.py`.

It is kept as a file, because the bytes that it compresses to depend on versions of libraries. After
a change, write the printed hash into `SpineMambaSegmentLib/Application/SampleImage.py`.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom

SEED = 7
OPTIONS = PhantomOptions(
    first="T11", last="L4", spacing_mm=(2.0, 2.0, 2.0), noise_hu=12.0, cut=True, tight=True
)
"""Without C2 and sacrum, so that the levels are ambiguous, as in many scans of a part."""

FILE = (
    Path(__file__).resolve().parents[2]
    / "SpineMambaSegment"
    / "Resources"
    / "SampleData"
    / "SpineMambaPhantomCT.nrrd"
)


def sample_image() -> Volume:
    """Return the image, in HU."""
    return make_phantom(SEED, OPTIONS).image


def main() -> None:
    """Write the file, and print its hash."""
    FILE.parent.mkdir(exist_ok=True)
    write_image(sample_image(), FILE)
    sys.stdout.write(f"SHA256:{hashlib.sha256(FILE.read_bytes()).hexdigest()}\n")


if __name__ == "__main__":
    main()
