"""The public cases in the data folder, as Testing/Fitting/public_cases.json lists them."""

from __future__ import annotations

import os
from pathlib import Path

from spinemamba.training.data.data_list import DataList, read_data_list

REPOSITORY = Path(__file__).resolve().parents[3]
LIST = REPOSITORY / "Testing" / "Fitting" / "public_cases.json"


def data_folder() -> Path:
    """Return the folder of the images: ``SPINEMAMBA_DATA``, or shared/data beside the checkout."""
    return Path(os.environ.get("SPINEMAMBA_DATA", REPOSITORY.parent / "shared" / "data"))


def public_cases(folder: Path | None = None) -> DataList:
    """Return the list of public cases; ``folder`` is that of the images."""
    return read_data_list(LIST, data_folder() if folder is None else folder)


def is_trained_on(name: str) -> bool:
    """Return whether the list has a case among those to train on."""
    return any(case.name == name for case in public_cases().training)


def unseen_cases() -> tuple[str, ...]:
    """Return the CT cases with labels that are kept for testing."""
    testing = public_cases().testing
    return tuple(case.name for case in testing if case.label and case.modality == "CT")
