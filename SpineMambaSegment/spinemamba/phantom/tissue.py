"""Tissue classes of phantoms, and their intensities in CT and MR."""

from __future__ import annotations

from enum import IntEnum


class Tissue(IntEnum):
    """Tissue classes of a phantom; vertebrae and sacrum are cortical and trabecular."""

    AIR = 0
    LUNG = 1
    FAT = 2
    MUSCLE = 3
    ORGAN = 4
    VESSEL = 5
    DISC = 6
    CANAL = 7
    CORD = 8
    CORTICAL = 9
    TRABECULAR = 10
    RIB = 11
    PELVIS = 12
    SKULL = 13
    STERNUM = 14
    MARROW = 15
    GAS = 16
    TABLE = 17
    SKIN = 18
    BOWEL = 19
    KIDNEY = 20
    CARTILAGE = 21
    BRAIN = 22
    CALCIFICATION = 23
    SHOULDER = 24
    VISCERAL_FAT = 25


OTHER_BONE = (Tissue.RIB, Tissue.PELVIS, Tissue.SKULL, Tissue.STERNUM, Tissue.SHOULDER)
"""Cortical bone other than the spine; `Tissue.MARROW` is inside."""

CT_HU: dict[Tissue, tuple[float, float]] = {
    Tissue.AIR: (-1005, -995),
    Tissue.LUNG: (-900, -780),
    Tissue.FAT: (-115, -85),
    Tissue.VISCERAL_FAT: (-115, -85),
    Tissue.MUSCLE: (35, 70),
    Tissue.ORGAN: (40, 120),
    Tissue.VESSEL: (40, 350),
    Tissue.DISC: (65, 115),
    Tissue.CANAL: (0, 25),
    Tissue.CORD: (30, 45),
    Tissue.CORTICAL: (450, 1100),
    Tissue.TRABECULAR: (60, 280),
    Tissue.GAS: (-1000, -700),
    Tissue.TABLE: (-150, 250),
    Tissue.SKIN: (0, 50),
    Tissue.BOWEL: (0, 120),
    Tissue.KIDNEY: (30, 200),
    Tissue.CARTILAGE: (70, 160),
    Tissue.BRAIN: (25, 45),
    Tissue.CALCIFICATION: (300, 900),
}
"""Range of the mean HU of each tissue; other bone depends on the density of the spine."""

MR_T1: dict[Tissue, float] = {
    Tissue.FAT: 0.95,
    Tissue.VISCERAL_FAT: 0.9,
    Tissue.MUSCLE: 0.40,
    Tissue.ORGAN: 0.50,
    Tissue.VESSEL: 0.12,
    Tissue.DISC: 0.38,
    Tissue.CANAL: 0.18,
    Tissue.CORD: 0.45,
    Tissue.CORTICAL: 0.08,
    Tissue.TRABECULAR: 0.62,
    Tissue.MARROW: 0.65,
    Tissue.SKIN: 0.5,
    Tissue.BOWEL: 0.35,
    Tissue.KIDNEY: 0.45,
    Tissue.CARTILAGE: 0.4,
    Tissue.BRAIN: 0.5,
}
"""Signal in T1-weighted MR, from 0 to 1; other tissues have almost no signal."""

MR_T2: dict[Tissue, float] = MR_T1 | {
    Tissue.FAT: 0.80,
    Tissue.VISCERAL_FAT: 0.78,
    Tissue.MUSCLE: 0.20,
    Tissue.ORGAN: 0.40,
    Tissue.DISC: 0.55,
    Tissue.CANAL: 1.0,
    Tissue.CORD: 0.42,
    Tissue.TRABECULAR: 0.48,
    Tissue.MARROW: 0.5,
    Tissue.BOWEL: 0.6,
    Tissue.KIDNEY: 0.65,
    Tissue.BRAIN: 0.55,
}
"""Signal in T2-weighted MR."""
