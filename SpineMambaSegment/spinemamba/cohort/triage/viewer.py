"""NiiVue from the package ipyniivue, as a script that a page without a server can load."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

from spinemamba.common.errors import Code, UserError

PACKAGE = "ipyniivue"
_BUNDLE = "widget.js"

_EXPORT = re.compile(r"export\s*\{[^{}]*\};?\s*$")
_CLASS = re.compile(r'"Creating new Niivue instance"\).{0,120}?new ([\w$]+)\(', re.DOTALL)
"""The bundle is minified and exports a widget of Jupyter, not the class."""

_IMPORT = re.compile(r"^\s*import\b(?!\()|\bimport\.meta\b", re.MULTILINE)


@dataclass(frozen=True)
class Viewer:
    """NiiVue.

    Attributes:
        script: A classic script that defines ``Niivue``: browsers refuse modules of ``file:``.
        licence: Licence of the package.
    """

    script: str
    licence: str


def find_viewer() -> Viewer:
    """Return the viewer of the installed package.

    Raises:
        UserError: If the package is missing, or has another form (DEPENDENCY_MISSING).
    """
    try:
        files = metadata.files(PACKAGE) or []
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"The 3-D viewer needs the package {PACKAGE}.",
            'Install it with pip install "spinemamba[triage]".',
            Code.DEPENDENCY_MISSING,
        ) from None
    bundle = next((file for file in files if file.name == _BUNDLE), None)
    licence = next((file for file in files if file.name.startswith("LICENSE")), None)
    texts = [None if file is None else file.read_text("utf-8") for file in (bundle, licence)]
    script = None if texts[0] is None else classic_script(texts[0])
    if script is None or texts[1] is None:
        raise UserError(
            f"{PACKAGE} {version} has no viewer that the page can use.",
            'Install another version with pip install "spinemamba[triage]".',
            Code.DEPENDENCY_MISSING,
        )
    return Viewer(script, texts[1])


def classic_script(module: str) -> str | None:
    """Return the module of the widget as a classic script; None if it has an unknown form."""
    end, name = _EXPORT.search(module), _CLASS.search(module)
    if end is None or name is None or _IMPORT.search(module):
        return None
    body = module[: end.start()]
    return f'(()=>{{"use strict";{body}\nglobalThis.Niivue={name[1]};\n}})();\n'
