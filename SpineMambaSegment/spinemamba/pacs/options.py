"""What decides the segmentation of a series in an archive, and its identity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.atomic_files import sha256
from spinemamba.export.seg_uids import SegUids
from spinemamba.pacs.dicomweb import ArchivedSeries
from spinemamba.protocol.cohort import Fingerprint
from spinemamba.protocol.job import DICOM_SEG, CohortJob
from spinemamba.protocol.model_card import CARD, DEFAULT, find_model_for, model_elsewhere, read_card

MODALITIES = ("CT", "MR")
_DIGITS = 12


@dataclass(frozen=True)
class SeriesOptions:
    """Options of all series.

    Attributes:
        model: Name of a bundled model, or folder of a model.
        device: One of `job.DEVICES`, or one GPU.
        quality: One of `job.QUALITIES`.
        precision: One of `job.PRECISIONS`.
        measurements: Whether to measure, and to write the HTML report.
    """

    model: str = DEFAULT
    device: str = "auto"
    quality: str = "standard"
    precision: str = "auto"
    measurements: bool = False

    def check(self) -> None:
        """Check the models before the work starts.

        Raises:
            UserError: If a model is missing or damaged.
        """
        for modality in MODALITIES:
            read_card(find_model_for(self.model, modality.lower()))

    def fingerprint(self, series: ArchivedSeries, instances: Sequence[str]) -> Fingerprint:
        """Return the identity of the segmentation of a series.

        It depends on the images, the model and the options that decide the labels. It does not
        depend on the version of this package: an update must not store all results again.

        Args:
            series: The series.
            instances: UIDs of its instances.
        """
        card = find_model_for(self.model, series.modality.lower()) / CARD
        decisive = {"quality": self.quality, "precision": self.precision}
        images = [series.study_uid, series.uid, *sorted(instances)]
        return Fingerprint(
            sha256("\n".join(images).encode()),
            sha256(card.read_bytes()),
            sha256(json.dumps(decisive, sort_keys=True).encode()),
        )


@dataclass(frozen=True)
class SeriesTask:
    """A series with its images, and the identity of its segmentation.

    Attributes:
        series: The series.
        instances: UIDs of its instances.
        options: Options of the run.
        fingerprint: Identity of the segmentation.
    """

    series: ArchivedSeries
    instances: tuple[str, ...]
    options: SeriesOptions
    fingerprint: Fingerprint

    @classmethod
    def of(
        cls, series: ArchivedSeries, instances: Sequence[str], options: SeriesOptions
    ) -> SeriesTask:
        """Return the task of a series."""
        identity = options.fingerprint(series, instances)
        return cls(series, tuple(instances), options, identity)

    @property
    def name(self) -> str:
        """Name of its folder and files, without data of the patient."""
        return f"{self.series.modality.lower()}-{self.fingerprint.run_id[:_DIGITS]}"

    @property
    def uids(self) -> SegUids:
        """Identifiers of its DICOM SEG."""
        return SegUids(self.fingerprint.run_id)

    def job(self, images: Path, folder: Path) -> CohortJob:
        """Return the job that writes the folder of the series.

        Args:
            images: Folder of the fetched images.
            folder: Folder to write.
        """
        return CohortJob(
            images,
            folder,
            case=self.name,
            source=label_of(self.series),
            fingerprint=self.fingerprint,
            model=model_elsewhere(self.options.model),
            device=self.options.device,
            modality=self.series.modality.lower(),
            precision=self.options.precision,
            quality=self.options.quality,
            measurements=self.options.measurements,
            also=(DICOM_SEG,),
        )

    def seg_file(self, folder: Path) -> Path:
        """Return the DICOM SEG in the folder of the series."""
        return folder / f"{self.name}.dcm"


def label_of(series: ArchivedSeries) -> str:
    """Return a name of a series for messages, without data of the patient."""
    number = series.number if series.number.isdecimal() else "x"
    return f"series-{number}-{sha256(series.uid.encode())[:8]}"
