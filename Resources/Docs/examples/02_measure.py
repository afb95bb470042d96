"""Measure a labelled spine and print heights, angles and what could not be measured.

``python 02_measure.py labels.nii.gz [ct.nii.gz]``
"""

import sys
from pathlib import Path

from spinemamba.imaging.read import read_volume
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.measure.spine import measure


def main(labels: Path, image: Path | None = None) -> None:
    """Measure `labels`; the CT `image` adds trabecular densities."""
    ct = None if image is None else read_volume(image)
    measured = measure(read_vertebra_labels(labels).volume, ct, "ct" if ct else "")

    for text in measured.alerts:
        print(f"Caution: {text}")
    for item in measured.items:
        if item.kind == "vertebra":
            print(
                f"{item.name:7} anterior height {item.text('anterior_height_mm', 1)} mm"
            )
        for key, value in item.values.items():
            if value is None:
                print(f"{item.name:7} no {key}: {item.reasons[key]}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
