"""Recipes: every setting in a file, and a training that keeps to it."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import pytest

from spinemamba.cli import train
from spinemamba.cli.main import main
from spinemamba.cli.training.recipe_arguments import recipe_of_arguments
from spinemamba.common.errors import UserError
from spinemamba.network.config import TRAINED
from spinemamba.training.architectures import KINDS, LEVEL_WEIGHT, RECIPES, SIZES
from spinemamba.training.data.origin import PHANTOM_SOURCE, Origin, attributions, credited
from spinemamba.training.options import TrainOptions
from spinemamba.training.recipe import (
    RECIPE_FILE,
    Recipe,
    ScheduleRecipe,
    check_same_recipe,
    differences,
    read_recipe,
    recipe_of,
    recipe_text,
    write_recipe,
)
from spinemamba.training.recipes import named_recipe

pytest.importorskip("tomllib")

OF_THE_COMPUTER = {"precision", "order"}
"""Options of a training that follow from the computer and are in no recipe."""

ELSEWHERE = {"seed", "kind", "synthesis", "patch", "loss", "last_phase"}
"""Options of a training that a recipe has under another name."""


def changed(recipe: Recipe, **schedule: object) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, **schedule))


@pytest.mark.parametrize("stage", ["coarse", "fine"])
@pytest.mark.parametrize("name", RECIPES)
def test_every_named_recipe_is_printed_and_read_back(name: str, stage: str, tmp_path: Path, capsys):
    assert main(["recipe", name, "--network", stage]) == 0
    path = tmp_path / "recipe.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert read_recipe(path) == named_recipe(name, stage)[0]
    words = ["recipe", name, "--network", stage, "--out", str(path)]
    assert main(words) == 2
    assert main([*words, "--overwrite"]) == 0
    assert read_recipe(path) == named_recipe(name, stage)[0]


def test_the_command_knows_every_recipe(capsys):
    assert main(["recipe", "nosuch"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in RECIPES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_recipe_tells_the_kind_of_its_network(size: str, kind: str):
    recipe = recipe_of("fine", size=size, kind=kind)
    assert recipe.kind == kind
    assert recipe.train_options().kind == kind


def test_every_option_of_a_training_is_in_the_recipe():
    own = {entry.name for entry in fields(ScheduleRecipe)}
    options = {entry.name for entry in fields(TrainOptions)}
    assert options - own == ELSEWHERE | OF_THE_COMPUTER


@pytest.mark.parametrize(
    ("stage", "spacing_mm", "surface", "start"),
    [("coarse", 4.0, 0.0, 1.0), ("fine", 1.5, 2.0, 0.8)],
)
def test_a_recipe_without_options_trains_with_the_defaults(
    stage: str, spacing_mm: float, surface: float, start: float
):
    options = recipe_of(stage).train_options()
    assert (options.patch.spacing_mm, options.loss.surface) == (spacing_mm, surface)
    assert options.loss.level == LEVEL_WEIGHT[stage]
    assert options.last_phase.start == start
    plain = TrainOptions(steps=options.steps, loss=options.loss, last_phase=options.last_phase)
    assert replace(options, patch=None) == plain


def test_a_schedule_without_minutes_has_no_limit():
    assert changed(recipe_of("fine"), minutes=0.0).train_options().minutes is None


@pytest.mark.parametrize(
    ("words", "network"),
    [
        (["coarse"], TRAINED["tiny", "coarse"]),
        (["fine"], TRAINED["tiny", "fine"]),
        (["coarse", "--start-from", "starter"], TRAINED["tiny", "coarse"]),
        (["fine", "--start-from", "starter"], TRAINED["full", "fine"]),
        (["fine", "--start-from", "starter", "--size", "tiny"], TRAINED["tiny", "fine"]),
    ],
)
def test_a_training_has_the_network_of_the_model_it_starts_from(words, network, tmp_path: Path):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    recipe = recipe_of_arguments(parser.parse_args([*words, "--out", str(tmp_path)]))
    assert recipe.network == network
    assert recipe.patches.size_vox == network.patch_vox


def test_every_entry_has_its_meaning_above_it():
    lines = recipe_text(recipe_of("fine")).splitlines()
    entries = [k for k, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    without = [lines[k] for k in entries if not lines[k - 1].startswith("#")]
    shares = [line for line in lines if line.split(" = ")[0] in recipe_of("fine").data.shares]
    assert set(without) <= {"schema = 1", *shares}


WRONG = {
    "an unknown entry": ("clip = 5.0", "clop = 5.0", "schedule has unknown entries: clop"),
    "a wrong type": ("steps = 100000", 'steps = "many"', "schedule.steps must be"),
    "another patch": ("size_vox = [64", "size_vox = [32", "they must be equal"),
    "an unknown kind of case": ("user = 12.0", "users = 12.0", "users is no kind of case"),
    "no TOML": ("[data]", "[data", "recipe.toml is not a recipe"),
    "a newer version": ("schema = 1", "schema = 9", "schema 9"),
    "a stage": ('stage = "fine"', 'stage = "third"', "stage must be one of coarse, fine"),
    "two choices": ('fold = ""', 'fold = "0/5"\nvalidate = ["a"]', "recipe.toml"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_recipe_is_refused_with_the_entry(kind: str, tmp_path: Path):
    old, new, says = WRONG[kind]
    text = recipe_text(recipe_of("fine"))
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert says in str(caught.value)


def test_the_source_of_own_cases_replaces_the_sentence_about_their_terms():
    own = [(name, Origin()) for name in "abc"]
    sentences = attributions([("phantom1", Origin("phantom", PHANTOM_SOURCE)), *own])
    text = "VerSe, CC BY-SA 4.0 (A et al.)"
    assert credited(sentences, text)[1:] == ("VerSe, CC BY-SA 4.0 (A et al.): 3 cases.",)
    assert credited(sentences, "") == sentences
    again = (*credited(sentences, text), *sentences)  # as at a resume
    assert credited(again, text) == credited(sentences, text)


def test_differences_are_listed_by_entry():
    one = recipe_of("fine")
    two = replace(changed(one, steps=7), data=replace(one.data, ignore=("rib",)))
    assert differences(one, two) == [
        "data.ignore: [] -> ['rib']",
        "schedule.steps: 100000 -> 7",
    ]
    assert differences(one, one) == []


def test_another_recipe_is_refused_where_a_training_began(tmp_path: Path):
    recipe = recipe_of("coarse")
    check_same_recipe(recipe, tmp_path)  # a training of an earlier version
    write_recipe(recipe, tmp_path)
    check_same_recipe(recipe, tmp_path)
    with pytest.raises(UserError, match=r"schedule\.learning_rate: 0\.001 -> 0\.01") as caught:
        check_same_recipe(changed(recipe, learning_rate=0.01), tmp_path)
    assert str(tmp_path / RECIPE_FILE) in str(caught.value)
