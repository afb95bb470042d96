"""Data lists: a JSON file with labelled cases, their sources and licences, in MONAI's manner.

A list has the sections ``sources`` (title, licence and credit of each data set), ``training`` and
``testing`` (cases, as `ListedCase` describes them), and ``vertebra_shapes`` (`ShapeDonor`).
Resources/Docs/training.md has an example.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import UserError
from spinemamba.common.versioned_json import strip_schema
from spinemamba.training.data.origin import PREFIX, SYNTHETIC, Origin, Source

SCHEMA = 1

_SECTIONS = ("sources", "training", "testing", "vertebra_shapes")

_T = TypeVar("_T")


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
        remark: For the reader of the list.
    """

    name: str
    source: str
    image: str | None = None
    label: str | None = None
    modality: str = "CT"
    complete: bool = False
    weight: float = 1.0
    remark: str = ""

    @property
    def kind(self) -> str:
        """The kind of the case, one of `gather.SHARE`."""
        if self.image is None:
            return "mask"
        return "complete" if self.complete else "part"

    @property
    def files(self) -> tuple[str, ...]:
        """Image and label map, as far as the case has them."""
        return tuple(path for path in (self.image, self.label) if path is not None)


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

    def shapes_source(self) -> str:
        """Return the source of phantoms with the shapes of the donors."""
        names = dict.fromkeys(self.case(donor.case).source for donor in self.donors)
        texts = [self.sources[name].short for name in names]
        return f"synthetic spines composed of vertebrae of {' and '.join(texts)}"


def read_data_list(path: Path, root: Path | None = None) -> DataList:
    """Read and check a data list. The image files are not opened.

    Args:
        path: JSON file.
        root: Folder of the data; None for the folder of the list.

    Raises:
        UserError: If the list cannot be read, or an entry is not as described (INPUT_BAD).
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_unique)
        sections = strip_schema(_mapping(content, "the list"), SCHEMA)
        if unknown := sorted(sections.keys() - set(_SECTIONS)):
            raise ValueError(f"unknown section {unknown[0]}")
        return _data_list(path, path.parent if root is None else root, sections)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Check the path after --data-list.",
        ) from error
    except RecursionError as error:
        raise _refusal(path, "it is nested too deeply") from error
    except ValueError as error:
        raise _refusal(path, str(error)) from error


def _refusal(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} is not a data list: {problem}.",
        "Correct the entry; Resources/Docs/training.md describes the format.",
    )


def _data_list(path: Path, root: Path, sections: dict[str, Any]) -> DataList:
    sources = {
        name: _entry(Source, values, f"sources: {name}")
        for name, values in _mapping(sections.get("sources", {}), "sources").items()
    }
    training = _entries(ListedCase, sections, "training")
    testing = _entries(ListedCase, sections, "testing")
    donors = _entries(ShapeDonor, sections, "vertebra_shapes")
    if not training:
        raise ValueError("the section training is missing or empty")
    names = [case.name for case in (*training, *testing)]
    for case in (*training, *testing):
        _check_case(case, names, sources)
    for case in training:
        if case.label is None:
            raise ValueError(f"{case.name}: a training case needs a label")
        if case.modality != "CT":
            raise ValueError(f"{case.name}: a training case must be CT, not {case.modality}")
    for donor in donors:
        _check_donor(donor, {case.name for case in training})
    return DataList(path, root, sources, training, testing, donors)


def _check_case(case: ListedCase, names: list[str], sources: Mapping[str, Source]) -> None:
    if not case.name or case.name.startswith((*SYNTHETIC, PREFIX)):
        raise ValueError(f"the name {case.name!r} is reserved")
    if names.count(case.name) > 1:
        raise ValueError(f"the name {case.name} occurs twice")
    if case.source not in sources:
        raise ValueError(f"{case.name}: the source {case.source} is not in the section sources")
    if not case.files or "" in case.files:
        raise ValueError(f"{case.name}: it has no file")
    if case.modality not in ("CT", "MR"):
        raise ValueError(f"{case.name}: the modality {case.modality} is neither CT nor MR")
    if not (math.isfinite(case.weight) and case.weight > 0):
        raise ValueError(f"{case.name}: the weight {case.weight} is not above 0")


def _check_donor(donor: ShapeDonor, training: set[str]) -> None:
    if donor.case not in training:
        raise ValueError(f"vertebra_shapes: {donor.case} is not a training case")
    for level in (donor.first, donor.last):
        if level not in NETWORK_LEVELS:
            raise ValueError(f"vertebra_shapes: {donor.case}: {level} is not a level")
    if NETWORK_LEVELS.index(donor.first) > NETWORK_LEVELS.index(donor.last):
        raise ValueError(f"vertebra_shapes: {donor.case}: {donor.first} is below {donor.last}")


def _entries(kind: type[_T], sections: Mapping[str, Any], section: str) -> tuple[_T, ...]:
    entries = sections.get(section, [])
    if not isinstance(entries, list):
        raise ValueError(f"{section} is not a list")
    return tuple(_entry(kind, values, f"{section}[{k}]") for k, values in enumerate(entries))


def _entry(kind: type[_T], values: object, where: str) -> _T:
    """Return a dataclass from JSON; raise ValueError for missing, unknown or wrong fields."""
    given, hints = _mapping(values, where), get_type_hints(kind)
    if unknown := sorted(given.keys() - hints.keys()):
        raise ValueError(f"{where}: unknown field {unknown[0]}")
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given:
            if field.default is MISSING:
                raise ValueError(f"{where}: the field {field.name} is missing")
            continue
        allowed = get_args(hints[field.name]) or (hints[field.name],)
        value = given[field.name]
        whole_number = float in allowed and type(value) is int
        if type(value) not in allowed and not whole_number:
            raise ValueError(f"{where}: the field {field.name} is {json.dumps(value)}")
    return kind(**given)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError if a key occurs twice."""
    out = dict(pairs)
    if len(out) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)} occurs twice")
    return out


def _mapping(values: object, where: str) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not an object")
    return values
