"""Find the images and label images of the user's cases, and pair them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")

_ROLE = re.compile(
    r"(?<![a-z])(raw(data)?|derivatives?|images?(t[rs])?|imgs?|cts?|scans?|volumes?|labels?(t[rs])?"
    r"|masks?|msks?|segs?|segmentations?|annotat(ed|ions?)|gt|(ground[ _-]?)?truths?)(?![a-z])",
    re.IGNORECASE,
)
"""Words in folder names that state the kind of the files, not the subject."""


@dataclass(frozen=True)
class CaseFile:
    """An image or label image of a case.

    Attributes:
        path: The file.
        name: File name without ending and format; equal for an image and its labels.
        folder: Parts of its folder, relative to the folder of all cases.
    """

    path: Path
    name: str
    folder: tuple[str, ...]

    @property
    def subject(self) -> tuple[str, ...]:
        """Parts of the folder that name the subject."""
        parts = (_ROLE.sub("", part).strip(" ._-") for part in self.folder)
        return tuple(part for part in parts if part)

    @property
    def text(self) -> str:
        """Path for messages, relative to the folder of all cases."""
        return printable("/".join((*self.folder, self.path.name)))


Pair = tuple[CaseFile, CaseFile]
"""An image and its label image."""


def files_below(folder: Path, deep: bool = True) -> list[Path]:
    """Return the files of a folder and, if ``deep``, of its subfolders; links are followed.

    Raises:
        UserError: If folders cannot be read; all of them are listed.
    """
    problems: list[str] = []

    def add_problem(error: OSError) -> None:
        path = os.path.relpath(error.filename, folder) if error.filename else "."
        name = folder.name if path == "." else path
        problems.append(f"{printable(name)}: the folder cannot be read ({error.strerror})")

    files, visited = [], set()
    for root, folders, names in os.walk(folder, onerror=add_problem, followlinks=True):
        # A link to a parent folder would be followed infinitely.
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        files += [Path(root, name) for name in names if not name.startswith(".")]
        if not deep:
            folders.clear()
    raise_if_any(problems)
    return sorted(files)


def case_files(paths: Iterable[Path], ending: str, top: Path) -> list[CaseFile]:
    """Return the files whose names have a certain ending before the format.

    Args:
        paths: Files below ``top``.
        ending: Ending, such as "_ct".
        top: Folder of all cases.
    """
    files = []
    for path in paths:
        for suffix in SUFFIXES:
            if path.name.lower().endswith(ending.lower() + suffix):
                name = path.name[: len(path.name) - len(ending) - len(suffix)]
                files.append(CaseFile(path, name, path.relative_to(top).parts[:-1]))
                break
    return files


def pair_files(
    images: list[CaseFile], masks: list[CaseFile]
) -> list[tuple[str, CaseFile, CaseFile]]:
    """Return the name, image and labels of each case.

    Files of one folder are paired first, then those of one subject, then those with a unique
    name. If several cases have one name, their folder precedes the name.

    Raises:
        UserError: If a file has no partner, or its partner is ambiguous; all problems are listed.
    """
    files = (*images, *masks)
    raise_if_any([f"{f.text}: its name is not UTF-8" for f in files if not _is_utf8(f.path)])
    pairs: list[Pair] = []
    unpaired = images, masks
    for key in (_folder, _subject):
        new, *unpaired = _match(*unpaired, key)
        pairs += new
    names = {image.name for image, _ in pairs}
    new, *_ = _match(*([f for f in side if f.name not in names] for side in unpaired), _name)
    pairs += [pair for pair in new if _may_match(*pair, new)]
    raise_if_any(_unpaired_problems(images, masks, _paths(pairs)))
    return _with_names(pairs)


def _folder(file: CaseFile) -> tuple[str, ...]:
    return (*file.folder, file.name)


def _subject(file: CaseFile) -> tuple[str, ...]:
    return (*file.subject, file.name)


def _name(file: CaseFile) -> tuple[str, ...]:
    return (file.name,)


def _paths(pairs: list[Pair]) -> set[Path]:
    return {file.path for pair in pairs for file in pair}


def _match(
    images: list[CaseFile], masks: list[CaseFile], key: Callable[[CaseFile], tuple[str, ...]]
) -> tuple[list[Pair], list[CaseFile], list[CaseFile]]:
    """Pair files whose key is unique on both sides; return the pairs and the unpaired files."""
    sides: dict[tuple[str, ...], tuple[list[CaseFile], list[CaseFile]]]
    sides = defaultdict(lambda: ([], []))
    for side, files in enumerate((images, masks)):
        for file in files:
            sides[key(file)][side].append(file)
    pairs = [(one[0], two[0]) for one, two in sides.values() if len(one) == len(two) == 1]
    paired = _paths(pairs)
    return (
        pairs,
        [file for file in images if file.path not in paired],
        [file for file in masks if file.path not in paired],
    )


def _may_match(image: CaseFile, mask: CaseFile, others: list[Pair]) -> bool:
    """Return whether two files of different folders can belong to one subject.

    Folders with different subject names are different patients, unless one of the folders has
    files of several cases: then its name is not that of a patient.
    """
    one, two = image.subject, mask.subject
    if not one or not two or one[-1] == two[-1]:
        return True
    if _is_subsequence(one, two) or _is_subsequence(two, one):
        return True
    same = [(i.folder == image.folder, m.folder == mask.folder) for i, m in others]
    return any(sum(side) > 1 for side in zip(*same, strict=True))


def _is_subsequence(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    remaining = iter(long)
    return all(part in remaining for part in short)


def _unpaired_problems(
    images: list[CaseFile], masks: list[CaseFile], paired: set[Path]
) -> list[str]:
    """Return a line for each file without a partner, and for each name that several files have."""
    problems = []
    for files, others, missing in ((images, masks, "labels"), (masks, images, "image")):
        candidates = defaultdict(list)
        for file in others:
            if file.path not in paired:
                candidates[file.name].append(file)
        unpaired = [file for file in files if file.path not in paired]
        for name in dict.fromkeys(file.name for file in unpaired):
            same = [file for file in unpaired if file.name == name]
            text = ", ".join(file.text for file in same)
            if len(same) > 1:
                problems.append(f"the same name twice: {text}")
                continue
            elsewhere = ", ".join(file.text for file in candidates[name])
            where = f" (elsewhere: {elsewhere})" if elsewhere else ""
            problems.append(f"{text}: no {missing} beside it{where}")
    return problems


def _with_names(pairs: list[Pair]) -> list[tuple[str, CaseFile, CaseFile]]:
    """Return the pairs with unique names, sorted by name."""
    names = [image.name for image, _ in pairs]
    for key in (_subject, _folder):
        longer = ["/".join(key(image)) for image, _ in pairs]
        names = [n if names.count(n) == 1 else m for n, m in zip(names, longer, strict=True)]
    return sorted(((n, *pair) for n, pair in zip(names, pairs, strict=True)), key=lambda c: c[0])


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return a text that every terminal can print: file names can contain any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def raise_if_any(problems: list[str]) -> None:
    """Raise a UserError that lists problems, one per line, if there are any."""
    if problems:
        lines = "\n".join(f"  {text}" for text in sorted(problems))
        raise UserError(
            f"{len(problems)} files cannot be used:\n{lines}\n", "Correct or remove them."
        )
