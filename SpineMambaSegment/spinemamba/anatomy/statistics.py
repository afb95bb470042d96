"""Statistics of spines: distances, volumes, rare levels and body sizes.

`STEP_MM` has the distances between the centres of neighbouring vertebrae in mm: mean and standard
deviation over 113 scans of VerSe 2020 (Sekuboyina et al., 10.1016/j.media.2021.102166; centroid
annotations, CC BY-SA 4.0).
"""

from __future__ import annotations

from bisect import bisect_left

from spinemamba.anatomy.labels import ORDER

STEP_MM: dict[tuple[str, str], tuple[float, float]] = {
    ("C1", "C2"): (17.1, 2.03),
    ("C2", "C3"): (18.45, 1.56),
    ("C3", "C4"): (15.87, 1.97),
    ("C4", "C5"): (16.06, 1.82),
    ("C5", "C6"): (16.1, 1.49),
    ("C6", "C7"): (17.72, 1.59),
    ("C7", "T1"): (18.78, 1.21),
    ("T1", "T2"): (20.9, 1.7),
    ("T2", "T3"): (22.23, 1.51),
    ("T3", "T4"): (22.31, 1.47),
    ("T4", "T5"): (22.82, 1.4),
    ("T5", "T6"): (23.47, 1.46),
    ("T6", "T7"): (24.04, 1.55),
    ("T7", "T8"): (24.33, 1.49),
    ("T8", "T9"): (24.86, 1.5),
    ("T9", "T10"): (25.68, 1.58),
    ("T10", "T11"): (27.59, 1.75),
    ("T11", "T12"): (29.83, 1.85),
    ("T11", "L1"): (31.03, 1.55),
    ("T12", "T13"): (32.34, 2.0),
    ("T12", "L1"): (32.0, 2.34),
    ("T13", "L1"): (34.98, 2.0),
    ("L1", "L2"): (33.39, 2.36),
    ("L2", "L3"): (34.14, 2.45),
    ("L3", "L4"): (33.82, 2.65),
    ("L4", "L5"): (31.66, 2.67),
    ("L5", "L6"): (30.57, 2.43),
}

_VOLUME_ML: dict[str, float] = {
    "C1": 12.0, "C2": 15.5, "C3": 10.9, "C4": 11.2, "C5": 12.0, "C6": 13.5, "C7": 16.1,
    "T1": 19.1, "T2": 20.4, "T3": 20.2, "T4": 21.1, "T5": 21.8, "T6": 23.8, "T7": 26.6, "T8": 28.6,
    "T9": 31.0, "T10": 34.1, "T11": 38.2, "T12": 43.4,
    "L1": 48.9, "L2": 56.5, "L3": 62.0, "L4": 65.5, "L5": 62.7, "Sacrum": 65.0,
}  # fmt: skip
"""Volumes of the levels in an adult of average size, in mL.

Fitted, together with a body size per case, to the complete vertebrae of eight label maps (VerSe, CC
BY-SA 4.0; LIDC; TotalSegmentator). The volume of the sacrum is a rough estimate, because it is
truncated in these.
"""

VOLUME_STEP_SPREAD = 0.15
"""Standard deviation of the logarithm of the ratio of successive volumes over the usual ratio.

Twice that of the label maps, because volumes of predicted vertebrae vary more.
"""

VOLUME_STEP_OUTLIER = 0.2
"""Least likelihood of any volume: fractures, and bone that was assigned to the neighbour."""


def usual_volume_ml(name: str) -> float:
    """Return the usual volume of a level in an adult, in mL; interpolated for T13 and L6."""
    if name in _VOLUME_ML:
        return _VOLUME_ML[name]
    known = sorted(_VOLUME_ML, key=ORDER.__getitem__)
    index = bisect_left([ORDER[level] for level in known], ORDER[name])
    if index == len(known):  # the coccyx
        return _VOLUME_ML[known[-1]]
    above, below = known[index - 1], known[index]
    slope = (_VOLUME_ML[below] - _VOLUME_ML[above]) / (ORDER[below] - ORDER[above])
    return slope * (ORDER[name] - ORDER[above]) + _VOLUME_ML[above]


ANY_STEP_MM = (25.0, 8.0)
"""Mean and standard deviation of the distance over all pairs of levels."""

STEP_SHARE: dict[tuple[str, str], float] = {
    ("T11", "L1"): 0.03,
    ("T12", "T13"): 0.03,
    ("L4", "Sacrum"): 0.03,
    ("L5", "L6"): 0.08,
}
"""Probability of each unusual successor of a level; the usual successor has the rest."""

BODY_SIZES = (0.5, 0.62, 0.74, 0.84, 0.92, 1.0, 1.08, 1.16, 1.25)
"""Body-size factors relative to the mean of the 113 scans; denser where most patients are."""

BODY_SIZE_SPREAD = 0.12
"""Standard deviation of body sizes; larger than in the 113 adults, to include children."""


BODY_SHAPE: dict[str, tuple[float, float, float]] = {
    "C3": (0.95, 0.95, 16.5), "C4": (0.95, 0.94, 16.2), "C5": (0.96, 0.94, 15.6),
    "C6": (0.97, 0.94, 15.6), "C7": (0.98, 0.95, 16.0),
    "T1": (0.98, 0.97, 16.8), "T2": (0.97, 0.94, 18.0), "T3": (0.97, 0.93, 18.2),
    "T4": (0.96, 0.93, 18.8), "T5": (0.95, 0.92, 19.9), "T6": (0.93, 0.91, 20.7),
    "T7": (0.93, 0.91, 21.2), "T8": (0.94, 0.91, 21.5), "T9": (0.96, 0.92, 22.0),
    "T10": (0.96, 0.91, 23.0), "T11": (0.96, 0.92, 24.5), "T12": (0.98, 0.94, 26.0),
    "L1": (1.00, 0.95, 27.6), "L2": (1.02, 0.95, 28.2), "L3": (1.07, 0.96, 28.0),
    "L4": (1.11, 0.98, 27.0), "L5": (1.20, 1.06, 25.0),
    "T13": (0.99, 0.94, 26.8), "L6": (1.20, 1.06, 25.0),
}  # fmt: skip
"""Usual shape of the bodies: anterior and middle height over the posterior height, and the
posterior height in mm.

Smoothed medians over the 105 whole vertebrae of twelve public label maps (VerSe, CC BY-SA 4.0;
LIDC; TotalSegmentator), measured by this package; T13 and L6 are interpolated from their
neighbours. Adult spines; one to nine vertebrae a level.
"""
