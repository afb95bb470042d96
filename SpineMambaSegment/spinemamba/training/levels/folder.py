"""The record of a training of the level network, beside its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.errors import Code
from spinemamba.common.json_schema import JsonFormat
from spinemamba.network.level_sequence import LevelNetworkConfig

RECORD = "level_training.json"


@dataclass(frozen=True)
class LevelTrainingRecord:
    """Content of level_training.json.

    Attributes:
        network: Configuration of the level network.
        options: Options of the training, `loop.LevelTrainOptions` as a table.
        sources: One sentence for each source of training data.
    """

    network: LevelNetworkConfig
    options: dict[str, Any]
    sources: tuple[str, ...]


LEVEL_TRAINING_RECORD = JsonFormat(
    LevelTrainingRecord,
    "the record of a training of the level network",
    "Choose another folder.",
    Code.MODEL_BAD,
    # Networks of earlier versions have fewer settings.
    defaults=True,
)
"""Format of level_training.json."""


def write_record(record: LevelTrainingRecord, folder: Path) -> None:
    """Write the record of a training, completely or not at all.

    Args:
        record: As returned by `read_record`.
        folder: Folder of the training; created if missing.

    Raises:
        UserError: If the file cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(folder / RECORD) as partial:
        LEVEL_TRAINING_RECORD.write(record, partial)


def read_record(folder: Path) -> LevelTrainingRecord:
    """Read and check the record of a training.

    Raises:
        UserError: If the file is missing or damaged (MODEL_BAD).
    """
    return LEVEL_TRAINING_RECORD.read(folder / RECORD, str(folder / RECORD))
