"""Fix the level of one vertebra and name the others again, without running the networks.

``python 05_relabel.py spine_result.json 3 L5 new_result.json``
"""

import sys
from pathlib import Path

from spinemamba.editing.relabel import new_values, relabel
from spinemamba.protocol.result import read_result


def main(result: Path, number: int, level: str, output: Path) -> None:
    """Fix vertebra `number` (1 at the top) to `level`; write the new result to `output`."""
    before = read_result(result)
    after = relabel(before, {number: level})

    for old, new in zip(before.instances, after.instances, strict=True):
        print(f"{old.name} -> {new.name} (p = {new.posterior:.2f})")
    print("label values:", new_values(before, after))
    after.write(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
