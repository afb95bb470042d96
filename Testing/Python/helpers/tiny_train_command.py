"""``spinemamba train`` with a tiny network: ``python tiny_train_command.py ARGUMENTS``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "SpineMambaSegment")]

from tiny_training import CONFIG  # noqa: E402 - the path is set just above

from spinemamba.cli import train  # noqa: E402
from spinemamba.cli.main import main  # noqa: E402
from spinemamba.network.config import TRAINED  # noqa: E402

if __name__ == "__main__":
    TRAINED.update(dict.fromkeys(TRAINED, CONFIG))
    train.SPACING_MM.update(coarse=8.0, fine=8.0)
    sys.exit(main(["train", *sys.argv[1:]]))
