"""Poll an archive, and segment the series that are new and complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from spinemamba.common.errors import UserError
from spinemamba.pacs.dicomweb import ArchivedSeries, DicomWeb
from spinemamba.pacs.options import MODALITIES
from spinemamba.pacs.series_run import FAILED, Outcome, SeriesRun

_MOST_ATTEMPTS = 5


@dataclass(frozen=True)
class WatchOptions:
    """What a watch looks at, and when.

    Attributes:
        days: Studies of today and of this many days before.
        modalities: DICOM modalities.
        interval_s: Time between two searches.
        settle_s: A series is complete when its number of images has not changed for this time.
    """

    days: int = 1
    modalities: tuple[str, ...] = MODALITIES
    interval_s: float = 30.0
    settle_s: float = 60.0


@dataclass
class _Seen:
    """A series that the watch knows.

    Attributes:
        count: Number of its images at the last search.
        since_s: When this number was seen first.
        is_done: Whether it needs no further attempt.
        attempts: Failed attempts.
        again_s: Time of the next attempt.
    """

    count: int | None
    since_s: float
    is_done: bool = False
    attempts: int = 0
    again_s: float = 0.0


@dataclass
class Watch:
    """Searches an archive again and again.

    Attributes:
        archive: The archive.
        run: Segments one series.
        options: What is searched.
        report: Called with the outcome of each series.
        problem: Called with the error of a search; the watch goes on.
        clock: Returns seconds.
        sleep: Waits.
    """

    archive: DicomWeb
    run: SeriesRun
    options: WatchOptions
    report: Callable[[Outcome], None]
    problem: Callable[[UserError], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def forever(self) -> None:
        """Search until KeyboardInterrupt."""
        while True:
            self.once()
            self.sleep(self.options.interval_s)

    def once(self) -> None:
        """Search, and segment what is new and complete.

        An error of a search is reported; the next search may succeed.
        """
        try:
            found = self._found()
        except UserError as error:
            self.problem(error)
            return
        for series in found:
            if self._is_ready(series):
                self._attempt(series)

    def _found(self) -> list[ArchivedSeries]:
        first_day = f"{date.today() - timedelta(days=self.options.days):%Y%m%d}"
        studies: dict[str, None] = {}
        for modality in self.options.modalities:
            studies |= dict.fromkeys(self.archive.studies(first_day, modality))
        return list(self._series_of(studies))

    def _series_of(self, studies: Iterable[str]) -> Iterable[ArchivedSeries]:
        for study in studies:
            for series in self.archive.series(study):
                if series.modality in self.options.modalities:
                    yield series

    def _is_ready(self, series: ArchivedSeries) -> bool:
        """Return whether a series is complete, and not done."""
        now_s = self.clock()
        seen = self._seen.get(series.uid)
        if seen is None or seen.count != series.count:
            self._seen[series.uid] = seen = _Seen(series.count, now_s)
        return (
            not seen.is_done
            and now_s - seen.since_s >= self.options.settle_s
            and now_s >= seen.again_s
        )

    def _attempt(self, series: ArchivedSeries) -> None:
        outcome = self.run.run(series)
        seen = self._seen[series.uid]
        seen.attempts += outcome.state == FAILED
        seen.is_done = not outcome.may_work_later or seen.attempts >= _MOST_ATTEMPTS
        seen.again_s = self.clock() + self.options.interval_s * 2**seen.attempts
        self.report(outcome)
