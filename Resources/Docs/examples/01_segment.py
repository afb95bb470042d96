"""Segment an image and write labels and result.

``python 01_segment.py ct.nii.gz spine.nii.gz``
"""

import sys
from pathlib import Path

from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import write_image
from spinemamba.inference.model import load_model
from spinemamba.protocol.model_card import find_model
from spinemamba.segment import SegmentOptions, segment


def main(image: Path, output: Path) -> None:
    """Segment `image`; write the labels to `output` and the result beside it."""
    model = load_model(find_model("starter"), device="cpu")
    options = SegmentOptions(modality="auto", quality="fast")
    segmentation = segment(read_volume(image), model, options, warn=print)

    for vertebra in segmentation.result.instances:
        print(
            f"{vertebra.name:7} p = {vertebra.posterior:.2f}  {vertebra.volume_ml:6.1f} mL"
        )
    write_image(segmentation.labels, output)
    segmentation.result.write(
        output.with_name(output.name.split(".")[0] + "_result.json")
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
