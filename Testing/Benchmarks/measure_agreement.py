"""Print how well measurements of own labels agree with those of reference labels.

``python Testing/Benchmarks/run.py measure_agreement [CASE ...]`` segments each CT with the bundled
model, measures its labels and the reference labels, and prints for every quantity the number of
values, their median uncertainty, the median difference, and the share of differences within the
uncertainty of both values together. At the end it prints the shares of all numbers of each case;
the goal is 95 %. Values that only one of both gives are listed with the reason of the other one,
and vertebrae, discs and curves that only one of both has.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from public_cases import data_folder

from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.inference.model import load_model
from spinemamba.measure.follow_up.comparison import Difference, differences
from spinemamba.measure.follow_up.matching import match_levels, with_moved_names
from spinemamba.measure.spine import measure
from spinemamba.protocol.measurements import Item, Measurements
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment

CASES = {
    "lidc0001": "lidc/lidc0001",
    "ts_example": "totalsegmentator/ts_example",
    "verse005": "verse/verse005",
    "verse008": "verse/verse008",
    "verse012": "verse/verse012",
}
"""The first two were used to choose the size of the displacements, the others were not."""


def main(words: list[str]) -> int:
    """Segment, measure, and print the table."""
    parser = argparse.ArgumentParser("measure_agreement", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="(%(default)s)")
    args = parser.parse_args(words)
    by_key: dict[str, list[Difference]] = defaultdict(list)
    lines = []
    for name in args.cases:
        own, reference = _measured(CASES[name])
        found = list(differences(reference, own))
        for difference in found:
            by_key[difference.key].append(difference)
        within = sum(not difference.is_beyond for difference in found)
        only = list(_in_one_only(own, reference))
        share = 100 * within / len(found)
        lines.append(f"{name}: {within} of {len(found)} numbers agree ({share:.1f} %)")
        lines[-1] += f"; {len(only)} are given for one of both label maps only\n"
        lines += [f"  {line}\n" for line in (*only, *_items_of_one(own, reference))]
    row = "{:20} {:>4} {:>12} {:>11} {:>8}\n"
    sys.stdout.write(row.format("quantity", "n", "uncertainty", "difference", "within"))
    for key, found in by_key.items():
        unit = found[0].quantity.unit
        width = np.median([d.uncertainty for d in found]) / np.sqrt(2)
        off = np.median([abs(d.change) for d in found])
        share = np.mean([not d.is_beyond for d in found])
        cells = (len(found), f"{width:.1f} {unit}", f"{off:.1f} {unit}", f"{100 * share:.0f} %")
        sys.stdout.write(row.format(key, *cells))
    sys.stdout.write("".join(lines))
    return 0


def _measured(case: str) -> tuple[Measurements, Measurements]:
    """Return the measurements of own labels and of reference labels."""
    stem = data_folder() / case
    image = read_volume(stem.with_name(f"{stem.name}_ct.nii.gz"))
    labels = segment(image, load_model(find_model(DEFAULT))).labels
    reference = read_labels(stem.with_name(f"{stem.name}_seg.nii.gz"))
    # Crops do not show which level is which: names are moved to those of the reference.
    labels = with_moved_names(labels, match_levels(labels, reference).shift)
    return measure(labels, image, "ct"), measure(reference, image, "ct")


def _in_one_only(own: Measurements, reference: Measurements) -> Iterator[str]:
    """Yield the values of items of both that one of both does not give, with its reason."""
    others = {_place(item): item for item in reference.items}
    for item in own.items:
        other = others.get(_place(item))
        if other is None:
            continue
        for key in item.values:
            pair = {"own": item, "reference": other}
            without = [name for name, one in pair.items() if one.values.get(key) is None]
            if len(without) == 1:
                reason = pair[without[0]].reasons.get(key, "")
                yield f"{item.name} {key}: not for {without[0]} labels ({reason})"


def _items_of_one(own: Measurements, reference: Measurements) -> Iterator[str]:
    """Yield the items that one of both has: levels without a label in the other, and curves."""
    pair = {"own": own, "reference": reference}
    places = {name: {_place(item) for item in one.items} for name, one in pair.items()}
    for name, one in pair.items():
        (other,) = (found for key, found in places.items() if key != name)
        for item in one.items:
            known = any(value is not None for value in item.values.values())
            if known and _place(item) not in other:
                yield f"{item.kind} {item.name} {item.view}".rstrip() + f": {name} labels only"


def _place(item: Item) -> tuple[str, str, str]:
    return item.kind, item.name, item.view
