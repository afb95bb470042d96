"""Write one closed surface per vertebra, and a manifest.

``python 03_export_surfaces.py spine.seg.nrrd surfaces``
"""

import sys
from pathlib import Path

from spinemamba.export.exporter import Export, Target
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.run_files import find_files, read_vertebrae


def main(labels: Path, folder: Path) -> None:
    """Export the vertebrae in `labels` as STL files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    vertebrae = read_vertebrae(find_files(labels))
    options = MeshOptions(formats=("stl",), smoothing=0.4, decimation=0.5)
    manifest = Export(vertebrae, Target(folder, case="example"), options).run()

    for entry in manifest.vertebrae:
        print(
            entry.level, "watertight" if entry.watertight else "open", *entry.findings
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
