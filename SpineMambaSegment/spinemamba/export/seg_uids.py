"""Identifiers of a DICOM SEG that depend on its run only. Standard library only.

A file that is made or sent again then has the identifiers of the first one, and an archive does
not get the same segmentation twice.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

_ROOT = uuid.UUID("5b0d7a4e-3c1f-5d7e-9a52-1f6f0c2f7d11")
"""Namespace of the identifiers of this software."""


@dataclass(frozen=True)
class SegUids:
    """Identifiers of one DICOM SEG.

    Attributes:
        run_id: Identifier of the run that made the segmentation; equal for equal inputs, model
            and options.
    """

    run_id: str

    @property
    def series(self) -> str:
        """SeriesInstanceUID."""
        return self._derived("series")

    @property
    def instance(self) -> str:
        """SOPInstanceUID."""
        return self._derived("instance")

    def tracking(self, level: str) -> str:
        """Return the tracking UID of a vertebra."""
        return self._derived(f"tracking {level}")

    def _derived(self, what: str) -> str:
        """Return a UID that is derived from a UUID (DICOM PS3.5 B.2)."""
        return f"2.25.{uuid.uuid5(_ROOT, f'{self.run_id} {what}').int}"


def new_uids() -> SegUids:
    """Return identifiers that no other file has."""
    return SegUids(uuid.uuid4().hex)
