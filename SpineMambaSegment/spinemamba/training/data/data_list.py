"""Data lists: a JSON file with labelled cases, their sources and licences, in MONAI's manner.

A list has the sections ``sources`` (title, licence and credit of each data set), ``training`` and
``testing`` (cases, as `ListedCase` describes them), and ``vertebra_shapes`` (`ShapeDonor`).
Resources/Docs/training.md has an example.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.json_schema import JsonFormat
from spinemamba.training.data.origin import PREFIX, SYNTHETIC, Origin, Source


@dataclass(frozen=True)
class ListedCase:
    """One case of a data list. Paths are relative to the folder of the data.

    Attributes:
        name: Name of the case, unique in the list.
        source: Name of its source in the list.
        image: CT in Hounsfield units (testing: or MR); None for a label map without an image.
        label: Label map with VerSe values; only a testing case can lack one.
        modality: "CT" or "MR".
        complete: Whether every visible vertebra is labelled. Otherwise bright voxels without a
            label are left out of the loss, and the image is padded, because it may end at the
            labels.
        weight: Sampling weight relative to the other cases of the same kind.
        structures: Label map of the structures of the whole body, with the numbers of
            TotalSegmentator 2. Without a complete image, the body is painted from it. With one, it
            tells where other bones touch the spine.
        known_above_hu: The image is only known above this value, as in scans that were published
            with all voxels below a threshold set to 0; the rest is painted.
        other_bones: Values in ``structures`` of bones other than the spine, if these are not the
            numbers of TotalSegmentator 2; only for a case with a complete image.
        remark: For the reader of the list.
    """

    name: str
    source: str
    image: str | None = None
    label: str | None = None
    modality: Literal["CT", "MR"] = "CT"
    complete: bool = False
    weight: float = 1.0
    structures: str | None = None
    known_above_hu: float | None = None
    other_bones: tuple[int, ...] = ()
    remark: str = ""

    @property
    def kind(self) -> str:
        """The kind of the case, one of `gather.SHARE`."""
        if self.structures is not None and (self.image is None or self.known_above_hu is not None):
            return "body"
        if self.image is None:
            return "mask"
        return "complete" if self.complete else "part"

    @property
    def files(self) -> tuple[str, ...]:
        """Image, label map and structures, as far as the case has them."""
        paths = (self.image, self.label, self.structures)
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class ShapeDonor:
    """A training case whose vertebral shapes are used in phantoms.

    Attributes:
        case: Name of the training case.
        first: First complete vertebra.
        last: Last complete vertebra.
    """

    case: str
    first: str
    last: str


@dataclass(frozen=True)
class DataList:
    """A data list, with the folder of its files.

    Attributes:
        path: The list.
        root: Folder of the data.
        sources: Sources by name.
        training: Cases to train on, in the order in which patches are drawn from them.
        testing: Cases that are never trained on.
        donors: Donors of vertebral shapes.
    """

    path: Path
    root: Path
    sources: dict[str, Source]
    training: tuple[ListedCase, ...]
    testing: tuple[ListedCase, ...] = ()
    donors: tuple[ShapeDonor, ...] = ()

    def case(self, name: str) -> ListedCase:
        """Return a case by its name; raise KeyError if there is none."""
        return {case.name: case for case in (*self.training, *self.testing)}[name]

    def image(self, name: str) -> Path | None:
        """Return the path of the image of a case; None if it has none."""
        image = self.case(name).image
        return None if image is None else self.root / image

    def label(self, name: str) -> Path | None:
        """Return the path of the label map of a case; None if it has none."""
        label = self.case(name).label
        return None if label is None else self.root / label

    def origin(self, case: ListedCase) -> Origin:
        """Return the kind, source and weight of a case."""
        return Origin(case.kind, self.sources[case.source].text, case.weight)

    def without_donors(self, names: Container[str]) -> DataList:
        """Return the list without the donors of vertebral shapes that are named."""
        return replace(self, donors=tuple(d for d in self.donors if d.case not in names))

    def shapes_source(self) -> str:
        """Return the source of phantoms with the shapes of the donors."""
        names = dict.fromkeys(self.case(donor.case).source for donor in self.donors)
        texts = [self.sources[name].short for name in names]
        return f"synthetic spines composed of vertebrae of {' and '.join(texts)}"


@dataclass(frozen=True)
class Sections:
    """Content of a data list.

    Attributes:
        sources: Title, licence and credit of each data set, by a short name.
        training: Cases to train on.
        testing: Cases that are never trained on.
        vertebra_shapes: Training cases whose vertebral shapes are used in phantoms.
    """

    sources: dict[str, Source]
    training: tuple[ListedCase, ...]
    testing: tuple[ListedCase, ...] = ()
    vertebra_shapes: tuple[ShapeDonor, ...] = ()


def read_data_list(path: Path, root: Path | None = None) -> DataList:
    """Read and check a data list. The image files are not opened.

    Args:
        path: JSON file.
        root: Folder of the data; None for the folder of the list.

    Raises:
        UserError: If the list cannot be read, or an entry is not as described (INPUT_BAD).
    """
    content = DATA_LIST.read(path, str(path))
    return DataList(
        path,
        path.parent if root is None else root,
        content.sources,
        content.training,
        content.testing,
        content.vertebra_shapes,
    )


def _check(content: Sections) -> None:
    if not content.training:
        raise ValueError("the section training is empty")
    cases = (*content.training, *content.testing)
    names = [case.name for case in cases]
    for case in cases:
        _check_case(case, names, content.sources)
    for case in content.training:
        if case.label is None:
            raise ValueError(f"{case.name}: a training case needs a label")
        if case.modality != "CT":
            raise ValueError(f"{case.name}: a training case must be CT, not {case.modality}")
    for donor in content.vertebra_shapes:
        _check_donor(donor, {case.name for case in content.training})


DATA_LIST = JsonFormat(
    Sections,
    "a data list",
    "Correct the entry; Resources/Docs/training.md describes the format.",
    version=1,
    defaults=True,
    check=_check,
)
"""Format of a data list."""


def _check_case(case: ListedCase, names: list[str], sources: Mapping[str, Source]) -> None:
    if not case.name or case.name.startswith((*SYNTHETIC, PREFIX)):
        raise ValueError(f"the name {case.name!r} is reserved")
    if names.count(case.name) > 1:
        raise ValueError(f"the name {case.name} occurs twice")
    if case.source not in sources:
        raise ValueError(f"{case.name}: the source {case.source} is not in the section sources")
    if not case.files or "" in case.files:
        raise ValueError(f"{case.name}: it has no file")
    if case.known_above_hu is not None and (case.image is None or case.structures is None):
        raise ValueError(f"{case.name}: known_above_hu needs an image and structures")
    if case.other_bones and (case.structures is None or case.kind == "body"):
        raise ValueError(f"{case.name}: other_bones needs structures and a complete image")
    if case.weight <= 0:
        raise ValueError(f"{case.name}: the weight {case.weight:g} is not above 0")


def _check_donor(donor: ShapeDonor, training: set[str]) -> None:
    if donor.case not in training:
        raise ValueError(f"vertebra_shapes: {donor.case} is not a training case")
    for level in (donor.first, donor.last):
        if level not in NETWORK_LEVELS:
            raise ValueError(f"vertebra_shapes: {donor.case}: {level} is not a level")
    if NETWORK_LEVELS.index(donor.first) > NETWORK_LEVELS.index(donor.last):
        raise ValueError(f"vertebra_shapes: {donor.case}: {donor.first} is below {donor.last}")
