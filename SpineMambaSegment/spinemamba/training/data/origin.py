"""Origin of training cases: the kind, the source and its licence, and their attributions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spinemamba.imaging.intensity import Modality

PREFIX = "own/"
"""Prefix of the name of a user's case if another case has the same name."""

SYNTHETIC = ("phantom", "composed")
"""Kinds of phantoms, with designed and with real vertebral shapes; their names begin so."""

_OWN = " cases of the user's own, under their own terms."
"""End of the sentence about the user's cases, after their number."""

PHANTOM_SOURCE = "synthetic spines of this package, Apache-2.0"


@dataclass(frozen=True)
class Source:
    """A data set with its licence.

    Attributes:
        title: Name of the data set.
        licence: Name of the licence.
        credit: References that the licence or the authors ask for.
        remark: For example who made the labels, and their licence.
    """

    title: str
    licence: str
    credit: str
    remark: str = ""

    @property
    def text(self) -> str:
        """Title, licence, credit and remark, as the model card lists them."""
        text = f"{self.title}, {self.licence} ({self.credit})"
        return f"{text}, {self.remark}" if self.remark else text

    @property
    def short(self) -> str:
        """Title, licence and remark, without the references."""
        return f"{self.title} ({', '.join(filter(None, (self.licence, self.remark)))})"


@dataclass(frozen=True)
class Origin:
    """Where a case comes from.

    Attributes:
        kind: One of `gather.SHARE`.
        source: Text of its `Source`; empty for the user's cases.
        weight: Sampling weight relative to the other cases of the kind.
        modality: "ct" or "mr", which says what the values of its image are.
    """

    kind: str = "user"
    source: str = ""
    weight: float = 1.0
    modality: Modality = "ct"


REAL = ("user", "complete", "part", "centres")
"""Kinds of cases with a whole image of a patient."""

USER_ORIGIN = Origin()
"""Origin of the user's cases."""


def attributions(cases: Iterable[tuple[str, Origin]]) -> tuple[str, ...]:
    """Return one sentence for each source of cases (name, origin), with its licence."""
    names: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for name, origin in cases:
        names.setdefault(origin.source, []).append(name)
        kinds[origin.source] = origin.kind
    users = names.pop("", [])
    out = [
        # The names of phantoms are only numbers.
        f"{source}." if kinds[source] in SYNTHETIC else f"{source}: {', '.join(names[source])}."
        for source in names
    ]
    if users:
        out.append(f"{len(users)}{_OWN}")
    return tuple(out)


def credited(sources: Iterable[str], text: str) -> tuple[str, ...]:
    """Return sentences of `attributions` in which the user's cases have a source.

    Args:
        sources: The sentences.
        text: Title, licence and credit of the user's cases; empty to leave the sentences as they
            are.
    """
    named = (
        f"{text}: {one.removesuffix(_OWN)} cases." if text and one.endswith(_OWN) else one
        for one in sources
    )
    return tuple(dict.fromkeys(named))


def merged(*sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sentences of several trainings without duplicates, in order."""
    return tuple(dict.fromkeys(sentence for each in sources for sentence in each))
