"""Names of exported files. Standard library only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from spinemamba.anatomy.labels import ORDER
from spinemamba.common.atomic_files import sha256

CASE = "spine"
"""What a case is called unless the user says otherwise: names of nodes often name patients."""

LONGEST_CASE = 60
HASH_DIGITS = 8


def safe_case(text: str) -> str:
    """Return a name of a case that every file system takes: letters, digits, ``-`` and ``_``.

    Accents go, other characters become ``_``; `CASE` if nothing is left. Where letters are lost,
    as those of other scripts are, a hash of the name tells cases apart.
    """
    whole = unicodedata.normalize("NFC", text)
    apart = unicodedata.normalize("NFKD", whole)
    plain = apart.encode("ascii", "ignore").decode()
    clean = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:LONGEST_CASE].rstrip("_-") or CASE
    if not any(character.isalnum() and not character.isascii() for character in apart):
        return clean
    digest = sha256(whole.encode("utf-8", "surrogatepass"))
    return f"{clean[: LONGEST_CASE - HASH_DIGITS - 1]}-{digest[:HASH_DIGITS]}"


def stems(case: str, levels: Iterable[str]) -> list[str]:
    """Return the names of files without their endings, such as ``spine_21_L1``.

    The number is the place of the level from head to tail among all levels that there are, so
    that it is the same in every case, and T13 and L6 sort where they belong.

    Args:
        case: From `safe_case`.
        levels: Names of levels, each as often as there are vertebrae of it; a second one of the
            same level becomes ``spine_21_L1-2``.
    """
    seen: dict[str, int] = {}
    found = []
    for level in levels:
        seen[level] = seen.get(level, 0) + 1
        again = f"-{seen[level]}" if seen[level] > 1 else ""
        found.append(f"{case}_{ORDER[level] + 1:02d}_{level}{again}")
    return found
