"""Many cases: compare each, and sum up."""

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
    """What became of a case.

    Attributes:
        case: The two files.
        score: The comparison; None if there was an error.
        error: Why it could not be compared, and what to do; empty if it could.
        notes: How its files were read, as sentences, if not in the ordinary way.
    """

    case: Case
    score: Comparison | None
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numberings:
    """What the numbers in label images mean; None where anatomy shall tell.

    Attributes:
        predicted: In segmentations.
        reference: In references.
    """

    predicted: Numbering | None = None
    reference: Numbering | None = None


BY_ANATOMY = Numberings()


def evaluate(
    cases: Iterable[Case], *, distances: bool = True, numberings: Numberings = BY_ANATOMY
) -> Iterator[Outcome]:
    """Compare case after case; one that cannot be compared does not stop the others.

    Args:
        cases: What to compare.
        distances: As for `compare`.
        numberings: Of label images.

    Raises:
        UserError: If a Python package is missing (DEPENDENCY_MISSING), which concerns all.
    """
    for case in cases:
        try:
            spines = read_pair(case, numberings)
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
        # What is wrong with one case must not lose the results of the others.
        except Exception as error:
            kind = type(error).__name__
            yield Outcome(case, None, f"Something went wrong inside SpineMamba ({kind}).")


def compare_files(case: Case, *, distances: bool = True) -> Comparison:
    """Read a case and compare it.

    Raises:
        UserError: If a file is missing or cannot be compared; see `compare`.
    """
    return compare(*(spine.volume for spine in read_pair(case)), distances=distances)


def read_pair(case: Case, numberings: Numberings = BY_ANATOMY) -> list[LabelledSpine]:
    """Read segmentation and reference of a case.

    Raises:
        UserError: If one is missing, cannot be read, or holds a value that is no level.
    """
    if case.predicted is None or case.reference is None:
        raise UserError(case.problem, "Add it, or leave such cases out with --skip-unmatched.")
    sides = ((case.predicted, numberings.predicted), (case.reference, numberings.reference))
    spines = []
    for path, numbering in sides:
        if not path.exists():  # the name only: what is said here goes into files
            raise UserError(f"There is no file {path.name}.", "Check the paths in the table.")
        spines.append(read_vertebra_labels(path, numbering))
    for spine in spines:
        if spine.file.numbering is VERSE and (unknown := spine.file.unknown_values):
            raise UserError(
                f"{spine.file.name} holds the value {unknown[0]}, which is no level.",
                f"Renumber its labels as VerSe does, or say what they mean: --labels {OPTION}.",
            )
    return spines


@dataclass(frozen=True)
class Spread:
    """How a measure varies over cases or vertebrae; NaN in all but the count if there is none.

    Attributes:
        mean: Mean of those that have a value.
        sd: Standard deviation (n - 1); NaN with fewer than two.
        median: Median.
        least: Smallest value.
        most: Largest value.
        count: How many have a value.
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
    """All cases that could be compared.

    Attributes:
        scores: Their comparisons.
        failed: Number of cases that could not be compared.
    """

    scores: tuple[Comparison, ...]
    failed: int

    def total(self, name: str) -> int:
        """Return the sum over cases of a number that `Comparison` has under this name."""
        return sum(getattr(score, name) for score in self.scores)

    @property
    def vertebrae(self) -> int:
        """Number of vertebrae in all references."""
        return sum(len(score.vertebrae) for score in self.scores)

    @property
    def all_right(self) -> tuple[int, int]:
        """Cases with all levels right, and cases that have levels at all."""
        judged = [score.all_right for score in self.scores if score.all_right is not None]
        return sum(judged), len(judged)

    @property
    def all_right_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the all-right rate (Wilson); NaN without cases."""
        right, judged = self.all_right
        if not judged:
            return math.nan, math.nan
        interval = binomtest(right, judged).proportion_ci(0.95, method="wilson")
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
        """Every measure's spread over the cases."""
        return {m.key: spread([m.of(score) for score in self.scores]) for m in MEASURES}

    @property
    def levels(self) -> list[Level]:
        """The reference's vertebrae by level, from head to tail."""
        groups: dict[str, list[VertebraScore]] = {}
        for score in self.scores:
            for vertebra in score.vertebrae:
                groups.setdefault(vertebra.name, []).append(vertebra)
        return [Level(name, tuple(groups[name])) for name in sorted(groups, key=ORDER.__getitem__)]

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """True level, level it was found as or "missed", and how often; the most frequent first."""
        counts = Counter(
            (v.name, v.found_as or "missed")
            for score in self.scores
            for v in score.vertebrae
            if v.found_as != v.name
        )
        return [(*names, count) for names, count in counts.most_common()]


def summarize(outcomes: Iterable[Outcome]) -> Summary:
    """Sum up."""
    scores = [outcome.score for outcome in outcomes]
    there = tuple(score for score in scores if score is not None)
    return Summary(there, len(scores) - len(there))


def spread(values: Iterable[float]) -> Spread:
    """Return how values vary; NaN among them do not count."""
    there = np.array([value for value in values if not math.isnan(value)], float)
    if not there.size:
        return Spread(*[math.nan] * 5, 0)
    sd = float(there.std(ddof=1)) if there.size > 1 else math.nan
    numbers = (there.mean(), sd, np.median(there), there.min(), there.max())
    return Spread(*map(float, numbers), int(there.size))
