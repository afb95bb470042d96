"""Compare a segmentation with a reference on the same voxels.

``python 04_evaluate.py predicted.nii.gz reference.nii.gz``
"""

import sys
from pathlib import Path

from spinemamba.evaluation.compare import compare
from spinemamba.labelmaps.read import read_vertebra_labels


def main(predicted: Path, reference: Path) -> None:
    """Print Dice and names of each vertebra of `reference`."""
    volumes = [read_vertebra_labels(path).volume for path in (predicted, reference)]
    comparison = compare(*volumes, distances=False)

    for vertebra in comparison.vertebrae:
        print(
            f"{vertebra.name:7} found as {vertebra.found_as}, Dice {vertebra.dice:.3f}"
        )
    print(f"bone Dice {comparison.bone_dice:.3f}, F1 {comparison.f1:.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
