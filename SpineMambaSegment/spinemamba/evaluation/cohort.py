"""Evaluation of several cases, and summary statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from spinemamba.anatomy.label_schemes import OPTION, VERSE, Numbering
from spinemamba.anatomy.labels import ORDER
from spinemamba.common.errors import Code, UserError
from spinemamba.evaluation.cases import Case
from spinemamba.evaluation.compare import compare
from spinemamba.evaluation.measures import MEASURES
from spinemamba.evaluation.scores import Comparison, VertebraScore, share
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels


@dataclass(frozen=True)
class Outcome:
    """Result of one case.

    Attributes:
        case: The two files.
        score: Scores; None after an error.
        error: Message and remedy of the error; empty if there was none.
        notes: Notes about reading the files, as sentences.
    """

    case: Case
    score: Comparison | None
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numberings:
    """Label schemes of the label images; None to recognise the scheme by anatomy.

    Attributes:
        predicted: Scheme of the segmentations.
        reference: Scheme of the references.
    """

    predicted: Numbering | None = None
    reference: Numbering | None = None


_BY_ANATOMY = Numberings()


def evaluate(
    cases: Iterable[Case], *, distances: bool = True, numberings: Numberings = _BY_ANATOMY
) -> Iterator[Outcome]:
    """Compare cases one after another; an error in one case does not stop the others.

    Args:
        cases: Cases to compare.
        distances: Whether to compute surface distances.
        numberings: Label schemes.

    Yields:
        The result of each case.

    Raises:
        UserError: If a Python package is missing (DEPENDENCY_MISSING), which affects all cases.
    """
    for case in cases:
        try:
            spines = _read_pair(case, numberings)
            score = compare(*(spine.volume for spine in spines), distances=distances)
            sides = zip(("Segmentation", "Reference"), spines, strict=True)
            notes = tuple(f"{side}: {note}" for side, spine in sides for note in spine.notes)
            yield Outcome(case, score, notes=notes)
        except UserError as error:
            if error.code is Code.DEPENDENCY_MISSING:
                raise
            yield Outcome(case, None, str(error))
        except MemoryError:
            yield Outcome(case, None, "This computer has too little free memory for this case.")
        # A bug in one case must not lose the results of the others.
        except Exception as error:
            kind = type(error).__name__
            yield Outcome(case, None, f"Something went wrong inside SpineMamba ({kind}).")


def _read_pair(case: Case, numberings: Numberings) -> list[LabelledSpine]:
    """Read segmentation and reference of a case.

    Raises:
        UserError: If a file is missing, cannot be read, or contains a value that is not a level.
    """
    if case.predicted is None or case.reference is None:
        raise UserError(case.problem, "Add it, or skip such cases with --skip-unmatched.")
    sides = ((case.predicted, numberings.predicted), (case.reference, numberings.reference))
    spines = []
    for path, numbering in sides:
        if not path.exists():  # only the name, because messages are written to files
            raise UserError(f"There is no file {path.name}.", "Check the paths in the table.")
        spines.append(read_vertebra_labels(path, numbering))
    for spine in spines:
        if spine.file.numbering is VERSE and (unknown := spine.file.unknown_values):
            raise UserError(
                f"{spine.file.name} contains the value {unknown[0]}, which is not a level.",
                f"Renumber its labels as VerSe does, or say what they mean: --labels {OPTION}.",
            )
    return spines


@dataclass(frozen=True)
class Spread:
    """Summary statistics of a measure over the cases in which it is defined.

    All are NaN, except the count, if there is no such case.

    Attributes:
        mean: Mean.
        sd: Standard deviation (n - 1); NaN for fewer than two values.
        median: Median.
        least: Minimum.
        most: Maximum.
        count: Number of values.
    """

    mean: float
    sd: float
    median: float
    least: float
    most: float
    count: int


@dataclass(frozen=True)
class Level:
    """All vertebrae of one level.

    Attributes:
        name: The level.
        vertebrae: Their scores, in the order of the cases.
    """

    name: str
    vertebrae: tuple[VertebraScore, ...]


@dataclass(frozen=True)
class Summary:
    """Summary of all cases.

    Attributes:
        scores: Scores of the cases that were compared.
        failed: Number of cases with an error.
    """

    scores: tuple[Comparison, ...]
    failed: int

    def total(self, name: str) -> int:
        """Return the sum of an attribute of `Comparison` over all cases."""
        return sum(getattr(score, name) for score in self.scores)

    @property
    def vertebrae(self) -> int:
        """Number of vertebrae in all references."""
        return sum(len(score.vertebrae) for score in self.scores)

    @property
    def all_right(self) -> tuple[int, int]:
        """Number of cases with all levels right, and number of cases with any vertebra."""
        right = [score.all_right for score in self.scores if score.all_right is not None]
        return sum(right), len(right)

    @property
    def all_right_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the all-right rate (Wilson); NaN without cases."""
        right, count = self.all_right
        if not count:
            return math.nan, math.nan
        interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def f1(self) -> float:
        """Instance F1 of the vertebrae of all cases together."""
        return share(2 * self.total("detected"), self.vertebrae + self.total("counted"))

    @property
    def pq(self) -> float:
        """Panoptic quality of the vertebrae of all cases together."""
        return share(
            2 * sum(s.iou_sum for s in self.scores), self.vertebrae + self.total("counted")
        )

    @property
    def measures(self) -> dict[str, Spread]:
        """Summary statistics of every measure over the cases."""
        return {m.key: spread([m.of(score) for score in self.scores]) for m in MEASURES}

    @property
    def levels(self) -> list[Level]:
        """Vertebrae of the references by level, from top to bottom."""
        groups: dict[str, list[VertebraScore]] = {}
        for score in self.scores:
            for vertebra in score.vertebrae:
                groups.setdefault(vertebra.name, []).append(vertebra)
        return [Level(name, tuple(groups[name])) for name in sorted(groups, key=ORDER.__getitem__)]

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """True level, wrong predicted level or "missed", and count; most frequent first."""
        counts = Counter(
            (v.name, v.found_as or "missed")
            for score in self.scores
            for v in score.vertebrae
            if v.found_as != v.name
        )
        return [(*names, count) for names, count in counts.most_common()]


def summarize(outcomes: Iterable[Outcome]) -> Summary:
    """Return the summary of all cases."""
    scores = [outcome.score for outcome in outcomes]
    valid = tuple(score for score in scores if score is not None)
    return Summary(valid, len(scores) - len(valid))


def spread(values: Iterable[float]) -> Spread:
    """Return the summary statistics of the values that are not NaN."""
    valid = np.array([value for value in values if not math.isnan(value)], float)
    if not valid.size:
        return Spread(*[math.nan] * 5, 0)
    sd = float(valid.std(ddof=1)) if valid.size > 1 else math.nan
    numbers = (valid.mean(), sd, np.median(valid), valid.min(), valid.max())
    return Spread(*map(float, numbers), int(valid.size))
