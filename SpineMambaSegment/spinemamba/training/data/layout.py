"""Find the images and label images of own cases, and pair those that belong together."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")

ROLE = re.compile(
    r"(?<![a-z])(raw(data)?|derivatives?|images?(t[rs])?|imgs?|cts?|scans?|volumes?|labels?(t[rs])?"
    r"|masks?|msks?|segs?|segmentations?|annotat(ed|ions?)|gt|(ground[ _-]?)?truths?)(?![a-z])",
    re.IGNORECASE,
)
"""Words in names of folders that say which kind of file they hold, not whose."""


@dataclass(frozen=True)
class Found:
    """A file that belongs to a case.

    Attributes:
        path: The file.
        name: Its name without ending and format: the same for an image and its labels.
        folder: Its folder, relative to the folder of all cases.
    """

    path: Path
    name: str
    folder: tuple[str, ...]

    @property
    def subject(self) -> tuple[str, ...]:
        """The parts of the folder that say whose the file is."""
        parts = (ROLE.sub("", part).strip(" ._-") for part in self.folder)
        return tuple(part for part in parts if part)

    @property
    def shown(self) -> str:
        """The file as a message names it."""
        return printable("/".join((*self.folder, self.path.name)))


def files_below(folder: Path, deep: bool = True) -> list[Path]:
    """Return the files of a folder and, if ``deep``, of those below it; links are followed.

    Raises:
        UserError: If a folder cannot be read; all are listed.
    """
    problems: list[str] = []

    def failed(error: OSError) -> None:
        where = os.path.relpath(error.filename, folder) if error.filename else "."
        shown = folder.name if where == "." else where
        problems.append(f"{printable(shown)}: the folder cannot be read ({error.strerror})")

    found, seen = [], set()
    for root, folders, names in os.walk(folder, onerror=failed, followlinks=True):
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root, name) for name in names if not name.startswith(".")]
        if not deep:
            folders.clear()
    refuse(problems)
    return sorted(found)


def named(paths: Iterable[Path], ending: str, top: Path) -> list[Found]:
    """Return the files whose names end so before their format.

    Args:
        paths: Files below ``top``.
        ending: End of the name, such as "_ct".
        top: Folder of all cases.
    """
    found = []
    for path in paths:
        for suffix in SUFFIXES:
            if path.name.lower().endswith(ending.lower() + suffix):
                name = path.name[: len(path.name) - len(ending) - len(suffix)]
                found.append(Found(path, name, path.relative_to(top).parts[:-1]))
                break
    return found


def paired(images: list[Found], masks: list[Found]) -> list[tuple[str, Found, Found]]:
    """Return the name, image and labels of each case.

    Files of one folder are paired first, then those of one subject, then those whose name there
    is only once; a name that several cases have gets their folder in front.

    Raises:
        UserError: If a file has no partner, or it is open which one it has; all are listed.
    """
    refuse([f"{f.shown}: its name is not UTF-8" for f in (*images, *masks) if not _plain(f.path)])
    pairs: list[tuple[Found, Found]] = []
    rest = images, masks
    for key in (_folder, _subject):
        new, *rest = _matched(*rest, key)
        pairs += new
    taken = {image.name for image, _ in pairs}
    new, *_ = _matched(*([f for f in side if f.name not in taken] for side in rest), _name)
    sure = [pair for pair in new if _may_belong(*pair, new)]
    pairs += sure
    done = {found.path for pair in pairs for found in pair}
    refuse(_left_over(images, masks, done))
    return _with_names(pairs)


def _folder(found: Found) -> tuple[str, ...]:
    return (*found.folder, found.name)


def _subject(found: Found) -> tuple[str, ...]:
    return (*found.subject, found.name)


def _name(found: Found) -> tuple[str, ...]:
    return (found.name,)


def _matched(
    images: list[Found], masks: list[Found], key: Callable[[Found], tuple[str, ...]]
) -> tuple[list[tuple[Found, Found]], list[Found], list[Found]]:
    """Return pairs of the one image and the one mask that share a key, and what is left."""
    sides: dict[tuple[str, ...], tuple[list[Found], list[Found]]]
    sides = defaultdict(lambda: ([], []))
    for side, files in enumerate((images, masks)):
        for found in files:
            sides[key(found)][side].append(found)
    pairs = [(one[0], two[0]) for one, two in sides.values() if len(one) == len(two) == 1]
    done = {found.path for pair in pairs for found in pair}
    return (
        pairs,
        [found for found in images if found.path not in done],
        [found for found in masks if found.path not in done],
    )


def _may_belong(image: Found, mask: Found, others: list[tuple[Found, Found]]) -> bool:
    """Return whether two files of different folders can be of one subject.

    Two folders that both name a subject, and not the same one, are two patients, unless one of
    them has files of several cases: then it is not named after a patient.
    """
    one, two = image.subject, mask.subject
    if not one or not two or one[-1] == two[-1] or _within(one, two) or _within(two, one):
        return True
    same = [(i.folder == image.folder, m.folder == mask.folder) for i, m in others]
    return any(sum(side) > 1 for side in zip(*same, strict=True))


def _within(few: tuple[str, ...], many: tuple[str, ...]) -> bool:
    rest = iter(many)
    return all(part in rest for part in few)


def _left_over(images: list[Found], masks: list[Found], done: set[Path]) -> list[str]:
    """Return a line for each file without a partner, and for each name that several share."""
    problems = []
    for files, others, what in ((images, masks, "labels"), (masks, images, "image")):
        partner = defaultdict(list)
        for found in others:
            if found.path not in done:
                partner[found.name].append(found)
        left = [found for found in files if found.path not in done]
        for name in dict.fromkeys(found.name for found in left):
            same = [found for found in left if found.name == name]
            twice = ", ".join(found.shown for found in same)
            if len(same) > 1:
                problems.append(f"the same name twice: {twice}")
                continue
            others_shown = ", ".join(found.shown for found in partner[name])
            where = f" (elsewhere: {others_shown})" if others_shown else ""
            problems.append(f"{twice}: no {what} beside it{where}")
    return problems


def _with_names(pairs: list[tuple[Found, Found]]) -> list[tuple[str, Found, Found]]:
    """Return the pairs in the order of their names, each name once."""
    names = [image.name for image, _ in pairs]
    for key in (_subject, _folder):
        longer = ["/".join(key(image)) for image, _ in pairs]
        names = [n if names.count(n) == 1 else m for n, m in zip(names, longer, strict=True)]
    return sorted(((n, *pair) for n, pair in zip(names, pairs, strict=True)), key=lambda c: c[0])


def _plain(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return a text that every terminal takes: names of files can hold any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def refuse(problems: list[str]) -> None:
    """Raise an error that lists problems, one on a line, if there are any."""
    if problems:
        shown = "\n".join(f"  {text}" for text in sorted(problems))
        raise UserError(f"{len(problems)} files cannot be used:\n{shown}\n", "Mend or remove them.")
