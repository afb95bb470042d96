"""The pages: links, pictures, generated blocks, commands and Python examples."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import card_tables
import generate
import pytest
import speed_table

from spinemamba.anatomy.label_schemes import BUILT_IN
from spinemamba.cli.main import COMMANDS, command_module, main
from spinemamba.common.errors import Code
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card

MOST_README_LINES = 150
COMMANDS_PAGE = generate.DOCS / "command-line.md"
EXAMPLES = sorted((generate.DOCS / "examples").glob("*.py"))
PAGES = (
    generate.README,
    *sorted(generate.DOCS.glob("*.md")),
    *sorted((generate.REPOSITORY / ".github").glob("*.md")),
    *sorted((generate.MODULE / "spinemamba" / "weights").rglob("*.md")),
)
ROOTS = (
    generate.REPOSITORY,
    generate.DOCS,
    generate.MODULE,
    generate.MODULE / "spinemamba",
    generate.MODULE / "SpineMambaSegmentLib",
    generate.REPOSITORY / "Testing" / "Python",
)
"""Folders from which pages name files."""

NAMED = re.compile(r"(?<![\w/.<])(\w+(?:/\w+)*/\w+\.py)\b")
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
BLOCK = re.compile(r"^(<!-- run -->\n)?```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """Return the text of a page."""
    return page.read_text(encoding="utf-8")


def links_of(page: Path) -> list[str]:
    """Return the relative links and pictures of a page."""
    found = (a or b for a, b in LINK.findall(text_of(page)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    without_code = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands_of(page: Path, *, run_only: bool = False) -> Iterator[list[str]]:
    """Yield the arguments of every ``spinemamba`` command in the ``sh`` blocks of a page."""
    for mark, block in BLOCK.findall(text_of(page)):
        if run_only and not mark:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.sub(r"(^|\s)#.*", "", line).split("&&"):
                words = shlex.split(part)
                if words[:1] == ["spinemamba"]:
                    yield words[1:]
                elif words[1:3] == ["-m", "spinemamba"]:
                    yield words[3:]


def parse(words: list[str]) -> argparse.Namespace:
    """Parse the arguments of a command without running it."""
    parser = argparse.ArgumentParser(words[0])
    command_module(words[0]).add_arguments(parser)
    return parser.parse_args(words[1:])


def test_the_readme_is_short():
    assert len(text_of(generate.README).splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_has_a_target(page: Path):
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors_of(path), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_file_named_in_a_page_exists(page: Path):
    for name in NAMED.findall(text_of(page)):
        assert any((root / name).is_file() for root in ROOTS), f"{page.name}: {name}"


def test_the_index_lists_every_page():
    listed = {link.partition("#")[0] for link in links_of(generate.DOCS / "README.md")}
    pages = {page.name for page in generate.DOCS.glob("*.md") if page.name != "README.md"}
    assert pages <= listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_parses(page: Path, capsys):
    for words in commands_of(page):
        assert words[0] in COMMANDS, f"{page.name}: {words}"
        try:
            parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: spinemamba {shlex.join(words)}\n{capsys.readouterr().err}")


def test_the_command_page_shows_every_command():
    assert {words[0] for words in commands_of(COMMANDS_PAGE)} == set(COMMANDS)


@pytest.mark.parametrize(
    ("page", "name", "content"), generate.SECTIONS, ids=[name for _, name, _ in generate.SECTIONS]
)
def test_generated_blocks_are_up_to_date(page: Path, name: str, content):
    assert generate.section(text_of(page), name) == content(), "run generate.py"


def test_tables_of_results_equal_the_model_card():
    results = read_card(find_model(DEFAULT)).results
    shown = generate.section(text_of(generate.README), "results").strip()
    assert shown == card_tables.result_summary(results)
    shown = generate.section(text_of(speed_table.PAGE), "measured").strip()
    assert shown == card_tables.result_table(results)


def test_tables_of_speed_equal_the_stored_numbers():
    text = text_of(speed_table.PAGE)
    assert generate.section(text, "sizes") == speed_table.sizes()
    assert generate.section(text, "speed") == speed_table.section()


def test_every_error_code_is_explained():
    rows = re.findall(r"^\| `([A-Z_]+)` \|(.+)\|(.+)\|$", text_of(COMMANDS_PAGE), re.MULTILINE)
    assert [row[0] for row in rows] == [code.value for code in Code]


def test_the_page_of_commands_lists_every_scheme_of_labels():
    text = text_of(COMMANDS_PAGE).split("It takes `verse`")[1].split("Without it")[0]
    assert set(re.findall(r"`([\w-]+)`", f"`verse`{text}")) == set(BUILT_IN)


def test_every_module_of_our_own_that_the_guide_explains_exists():
    rows = re.findall(r"^\| (.+?) \|", text_of(generate.DOCS / "developer.md"), re.MULTILINE)
    modules = [name for row in rows for name in re.findall(r"`([\w/]+(?:\.py|/))`", row)]
    files = [name for name in modules if not name.startswith("Testing/")]
    assert len(files) > 20
    for name in files:
        found = any((root / name).exists() for root in ROOTS)
        assert found or list(generate.MODULE.rglob(name)), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_of_a_page_compile_and_their_imports_exist(page: Path):
    for block in re.findall(r"^```python\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
        compile(block, page.name, "exec")
        for module, names in re.findall(r"^from (spinemamba[\w.]+) import (.+)$", block, re.M):
            found = importlib.import_module(module)
            assert all(hasattr(found, name.strip()) for name in names.split(","))


@pytest.mark.slow
def test_the_walk_through_runs(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = list(commands_of(COMMANDS_PAGE, run_only=True))
    assert len(commands) >= 6
    for words in commands:
        assert main(words) == 0, f"{shlex.join(words)}\n{capsys.readouterr()}"
    assert list(tmp_path.glob("surfaces/*.stl"))
    assert (tmp_path / "measurements/relabelled_report.html").is_file()


@pytest.fixture(scope="module")
def spine(tmp_path_factory) -> Path:
    """Folder with a small synthetic CT, its labels, and the outputs of example 01."""
    folder = tmp_path_factory.mktemp("examples")
    words = f"phantom {folder / 'ct.nii.gz'} --first L2 --last Sacrum --spacing 2 --seed 7"
    assert main(shlex.split(words)) == 0
    return folder


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_compiles_and_its_imports_exist(path: Path):
    assert callable(runpy.run_path(str(path))["main"])


@pytest.mark.slow
def test_the_examples_run_in_order(spine: Path, monkeypatch, capsys):
    arguments = {
        "01_segment": ("ct.nii.gz", "spine.nii.gz"),
        "02_measure": ("spine.nii.gz", "ct.nii.gz"),
        "03_export_surfaces": ("spine.nii.gz", "surfaces"),
        "04_evaluate": ("spine.nii.gz", "ct_labels.nii.gz"),
        "05_relabel": ("spine_result.json", "1", "L1", "new_result.json"),
    }
    assert [path.stem for path in EXAMPLES] == list(arguments)
    monkeypatch.chdir(spine)
    for path in EXAMPLES:
        monkeypatch.setattr(sys, "argv", [path.name, *arguments[path.stem]])
        runpy.run_path(str(path), run_name="__main__")
        assert capsys.readouterr().out.strip(), path.name
    assert list(spine.glob("surfaces/*.stl"))
    assert (spine / "new_result.json").is_file()
