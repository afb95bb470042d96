"""Level probabilities of the level network as evidence of the level solver."""

from __future__ import annotations

from dataclasses import replace

from spinemamba.inference.level_stage import LevelEvidence
from spinemamba.instances.find import Instances
from spinemamba.protocol.result import Witnesses


def with_sequence_evidence(instances: Instances, evidence: LevelEvidence) -> Instances:
    """Return the instances with the level probabilities of the level network.

    Args:
        instances: Instances; those that the network has not seen keep their probabilities.
        evidence: Result of the level network.
    """
    rows = {number: k for k, number in enumerate(evidence.numbers)}
    items = []
    for item in instances.items:
        row = rows.get(item.id)
        if row is not None:
            # The probability of a level is that of a vertebra of this level.
            joint = evidence.levels[row] * (1 - evidence.no_vertebra[row])
            item = replace(
                item,
                level_probabilities=tuple(map(float, joint)),
                no_vertebra=float(evidence.no_vertebra[row]),
                witnesses=Witnesses(*map(float, evidence.witnesses[row])),
            )
        items.append(item)
    return replace(instances, items=tuple(items))
