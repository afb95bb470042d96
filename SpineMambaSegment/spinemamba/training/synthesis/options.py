"""Probabilities of the image synthesis, kept with the checkpoint that they led to."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class SynthesisOptions:
    """Probabilities of the steps that make a training image from a patch.

    Attributes:
        painted: A case with both an image and tissues is painted from the tissues.
        ct: A painted patch has the contrast of CT.
        mr: A painted patch has the contrast of MR; the others have random contrasts, as in
            SynthSeg (arXiv 2107.09559).
        t1: A painted MR is T1 weighted, otherwise T2 weighted.
        fat_suppressed: A painted MR has suppressed fat.
        implants: Screws and rods in a real or painted CT.
        remapped: The contrast of a real image is changed to a random one, for robustness to MR.
        blurred_painted: A painted image is blurred.
        blurred_real: A real image is blurred.
        sharpened: Enhanced edges, as by a bone reconstruction kernel.
        low_resolution: Lower resolution, resampled to the same grid.
        low_along_one_axis: The resolution is lower along one axis, otherwise along all.
        tilted_contrast: Another gamma and a weak bias field.
        noisy: White or correlated noise.
        correlated_noise: Noise is correlated as by a reconstruction kernel, otherwise white.
        varied: The calibration and the density of a real CT are varied.
        known_shown: A body whose image is known in part shows it.
        sagittal: A painted MR is a sagittal stack with contrasts of real ones, see `mr_tissue`.
        local_mean: MR is divided by its local mean, see `imaging.local_mean`; 0 for never, 1 for
            always. The model that is packed normalises like this as well.
    """

    painted: float = 0.6
    ct: float = 0.65
    mr: float = 0.15
    t1: float = 0.5
    fat_suppressed: float = 0.3
    implants: float = 0.04
    remapped: float = 0.12
    blurred_painted: float = 0.7
    blurred_real: float = 0.3
    sharpened: float = 0.15
    low_resolution: float = 0.35
    low_along_one_axis: float = 0.6
    tilted_contrast: float = 0.15
    noisy: float = 0.5
    correlated_noise: float = 0.5
    varied: float = 1.0
    known_shown: float = 0.75
    sagittal: float = 0.0
    local_mean: float = 0.0

    def weakened(self, strength: float) -> SynthesisOptions:
        """Return the options with fewer changes to real images: all at a strength of 1, none at 0.

        Contrasts of painted images stay as they are.
        """
        return replace(self, **{name: getattr(self, name) * strength for name in _CHANGES})


_CHANGES = (
    "varied",
    "painted",
    "implants",
    "remapped",
    "blurred_real",
    "sharpened",
    "low_resolution",
    "tilted_contrast",
    "noisy",
)
"""Changes to real images."""

CT_ONLY = SynthesisOptions(ct=1.0, mr=0.0, remapped=0.0)
"""Images of CT alone."""

DEFAULT_SYNTHESIS = SynthesisOptions()

MOSTLY_CT = SynthesisOptions(ct=0.94, mr=0.03, remapped=0.02)
"""Images of CT, and a few of other contrasts, so that shapes matter more than brightness."""

MR_ONLY = SynthesisOptions(
    ct=0.0,
    mr=0.93,
    remapped=1.0,
    implants=0.0,
    blurred_painted=0.4,
    blurred_real=0.35,
    low_resolution=0.15,
    tilted_contrast=0.6,
    noisy=0.2,
    sagittal=1.0,
    local_mean=1.0,
)
"""Sagittal images of MR, and a few of random contrasts; a CT only serves as a shape."""
