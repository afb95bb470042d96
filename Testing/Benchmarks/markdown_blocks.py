"""Replace blocks of generated text in Markdown pages."""

from __future__ import annotations

import re
from pathlib import Path


def write_block(page: Path, mark: str, content: str) -> None:
    """Replace the text between ``<!-- mark -->`` and ``<!-- /mark -->``.

    Raises:
        ValueError: If the page does not have the marks exactly once.
    """
    text = page.read_text(encoding="utf-8")
    block = f"<!-- {mark} -->\n{content}\n<!-- /{mark} -->"
    pattern = rf"<!-- {mark} -->.*?<!-- /{mark} -->"
    text, count = re.subn(pattern, lambda _: block, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{page.name} has {count} places marked '{mark}', not one")
    page.write_text(text, encoding="utf-8")
