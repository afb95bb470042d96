"""Loss of height against the vertebra itself and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinemamba.protocol.quantities import GENANT_PERCENT

Values = Mapping[str, float | None]
DEFORMITIES = ("wedge", "biconcave", "crush")


def height_loss(values: Values, neighbours: Sequence[Values]) -> tuple[float, str] | None:
    """Return the loss of height in per cent, never below 0, and its kind.

    Args:
        values: Heights of the vertebra.
        neighbours: Heights of those directly above and below, as far as they are known.

    Returns:
        The largest of the losses in front ("wedge"), in the middle ("biconcave") and as a whole
        ("crush"); None if the vertebra's heights are not known.
    """
    front, middle, back = (
        values.get(f"{place}_height_mm") for place in ("anterior", "middle", "posterior")
    )
    if front is None or middle is None or back is None:
        return None
    losses = [1 - front / back, 1 - middle / back]
    beside = [v for n in neighbours if (v := n.get("posterior_height_mm")) is not None]
    if beside:
        losses.append(1 - back / (sum(beside) / len(beside)))
    worst = max(range(len(losses)), key=losses.__getitem__)
    return max(0.0, 100 * losses[worst]), DEFORMITIES[worst]


def genant_grade(loss_percent: float) -> int:
    """Return the grade that a loss of height suggests, 0 to 3."""
    return sum(loss_percent >= least for least in GENANT_PERCENT)
