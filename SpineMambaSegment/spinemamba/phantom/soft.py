"""Soft tissue and table: skin, fat, muscles, lungs, organs, vessels."""

from __future__ import annotations

import numpy as np

from spinemamba.phantom.canvas import Canvas
from spinemamba.phantom.curve import Placed, landmarks
from spinemamba.phantom.outline import POWER, Outline
from spinemamba.phantom.sdf import Frame
from spinemamba.phantom.tissue import Tissue


def paint_soft(canvas: Canvas, chain: list[Placed], outline: Outline, scale: float) -> None:
    """Paint everything except bone."""
    heights = {name: float(p.frame.origin[2]) for name, p in landmarks(chain).items()}
    z_mm, y_mm, x_mm = canvas.grid.axes_mm
    dome = heights["T10"] - 4.0 * scale
    apex = heights["T1"] - 4.0
    for k, z in enumerate(z_mm):
        box = (slice(k, k + 1), *(slice(0, n) for n in canvas.tissues.shape[1:]))
        grain = canvas.rough(box, 6.0)[0]
        slice_ = _Slice(outline, float(z), x_mm, y_mm, grain)
        canvas.tissues[k] = slice_.paint((apex, dome), heights)
    _paint_organs(canvas, heights, outline, scale)
    _paint_vessels(canvas, chain, scale)
    _paint_muscles(canvas, chain, scale)
    _paint_table(canvas, outline)


class _Slice:
    """Depths in one axial slice."""

    def __init__(
        self,
        outline: Outline,
        z: float,
        x_mm: np.ndarray,
        y_mm: np.ndarray,
        grain: np.ndarray,
    ):
        self.outline, self.z, self.grain = outline, z, grain
        cx, cy, w, d = outline.at(z)
        sx, sy = outline.spine_at(z)
        x, y = (x_mm - np.float32(cx))[None, :], (y_mm - np.float32(cy))[:, None]
        rho = ((np.abs(x) / w) ** POWER + (np.abs(y) / d) ** POWER) ** np.float32(1 / POWER)
        rho = np.maximum(rho, np.float32(1e-3))
        radius = np.sqrt(x * x + y * y)
        self.depth = np.where(rho > 0.2, radius * (1 / rho - 1), np.float32(min(w, d)))
        self.across = np.abs(x_mm - np.float32(sx))[None, :]
        self.side = (x_mm - np.float32(sx))[None, :]
        self.behind = (y_mm - np.float32(sy))[:, None]

    def paint(self, lungs: tuple[float, float], heights: dict[str, float]) -> np.ndarray:
        """Return the tissues of the slice, uint8 (y, x); ``lungs`` is z of their apex and dome."""
        outline, depth, scale = self.outline, self.depth, self.outline.scale
        out = np.zeros(depth.shape, np.uint8)
        fat = outline.fat_mm * (0.4 if self.z > heights["C7"] else 1.0)
        # Below the iliac crest the gluteal muscles are outside the cavity.
        hips = float(np.clip((heights["L5"] + 10 - self.z) / 40, 0, 1))
        wall = fat + (16.0 + 3 * scale) + 24 * hips * (self.behind > -60)
        inside = depth > 0
        out[inside] = Tissue.FAT
        out[inside & (depth < 1.8)] = Tissue.SKIN
        out[depth > fat] = Tissue.MUSCLE
        # The zero set of smooth noise is a sheet, like fat between muscles.
        out[(depth > fat + 2) & (np.abs(self.grain) < 0.09)] = Tissue.FAT
        if self.z < heights["T1"]:
            # Beside the vertebral bodies are the lungs in the chest, and psoas in the abdomen.
            chest = np.float32(np.clip((self.z - heights["T12"]) / 30, 0, 1))
            near = 22.0 * scale
            limit = np.maximum(self.across - near, 0) * (0.9 + 0.5 * (1 - chest))
            limit = limit + np.minimum(chest * 10, 2 * np.maximum(self.across - near, 0))
            limit = limit - 19 * np.sqrt(np.clip(1 - (self.across / near) ** 2, 0, 1))
            cavity = (depth > wall) & (self.behind < limit)
            out[cavity] = Tissue.VISCERAL_FAT
            self._lungs(out, cavity, lungs)
        return out

    def _lungs(self, out: np.ndarray, cavity: np.ndarray, lungs: tuple[float, float]) -> None:
        (apex, dome), scale = lungs, self.outline.scale
        if self.z > apex:
            return
        # The diaphragm is highest in the middle of each side and lower posteriorly.
        peak = 75.0 * scale
        bowl = 55 * np.maximum(self.behind + 30, 0) / 60
        bowl = bowl + 40 * ((self.across - peak) / peak) ** 2 - 25 * (self.side < 0)
        below = self.z < dome - bowl
        front = np.clip(-self.behind / 90, 0, 1)
        middle = (20 + 32 * front) * scale
        top = np.clip((apex - self.z) / 40, 0.05, 1) ** 0.5
        lung = cavity & (self.across > middle) & (self.across < 135 * scale * top + 15) & ~below
        out[cavity & (self.across <= middle)] = Tissue.VISCERAL_FAT
        out[lung] = Tissue.LUNG
        out[lung & (self.grain > 2.0)] = Tissue.VESSEL


def _blob(
    canvas: Canvas,
    centre: np.ndarray,
    half: tuple[float, ...],
    tissue: Tissue,
    over: tuple[Tissue, ...],
    *,
    turn: float = 0.0,
) -> None:
    """Paint an ellipsoid with an irregular surface, rotated about the z axis."""
    c, s = np.cos(turn), np.sin(turn)
    frame = Frame(np.asarray(centre, float), np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]))
    field = canvas.field(frame, tuple(-h for h in half), tuple(half))
    if field is None:
        return
    ratio = sum((v * np.float32(1 / h)) ** 2 for v, h in zip(field.coordinates, half, strict=True))
    field.distance = (np.sqrt(ratio) - 1) * min(half) + 1.5 * canvas.rough(field.box, 5.0)
    canvas.paint(field, tissue, over)


def _paint_organs(
    canvas: Canvas, heights: dict[str, float], outline: Outline, scale: float
) -> None:
    rng = canvas.rng
    soft = (Tissue.VISCERAL_FAT,)

    def place(level: str, x: float, y: float, up: float = 0.0) -> np.ndarray:
        z = heights[level] + up * scale
        sx, sy = outline.spine_at(z)
        return np.array([sx + x * scale, sy + y * scale, z])

    def size(*mm: float) -> tuple[float, ...]:
        return tuple(v * scale * rng.uniform(0.9, 1.1) for v in mm)

    heart = (Tissue.VISCERAL_FAT, Tissue.LUNG)
    _blob(canvas, place("T8", 18, -85), size(58, 48, 58), Tissue.VESSEL, heart, turn=0.4)
    _blob(canvas, place("T12", -75, -50, 10), size(72, 85, 75), Tissue.ORGAN, soft)
    _blob(canvas, place("T12", 92, -5, 12), size(32, 45, 50), Tissue.ORGAN, soft)
    _blob(canvas, place("T12", 45, -85), size(55, 38, 45), Tissue.BOWEL, soft)
    _blob(canvas, place("T12", 50, -98), size(32, 22, 28), Tissue.GAS, (Tissue.BOWEL,))
    for side in (1, -1):
        _blob(
            canvas, place("L2", 62 * side, 2, 14 + 6 * side), size(28, 26, 55), Tissue.KIDNEY, soft
        )
    for _ in range(75):
        up = rng.uniform(-60, 110)
        centre = place("L4", rng.uniform(-110, 110), rng.uniform(-115, -35), up)
        half = size(*rng.uniform(10, 28, 3))
        _blob(canvas, centre, half, Tissue.BOWEL, soft)
        if rng.uniform() < 0.45:
            _blob(canvas, centre, tuple(0.7 * h for h in half), Tissue.GAS, (Tissue.BOWEL,))
    airway = np.array(
        [place("C5", 0, -32), place("C7", 0, -36), place("T2", 0, -38), place("T4", 0, -30)]
    )
    canvas.tube(airway, 8.5 * scale, Tissue.GAS)


def _paint_vessels(canvas: Canvas, chain: list[Placed], scale: float) -> None:
    by_name = landmarks(chain)

    def line(names: list[str], x: float, y: float) -> np.ndarray:
        return np.array(
            [
                by_name[n].frame.to_world((x * scale, -by_name[n].shape.wall - y * scale, 0))
                for n in names
            ]
        )

    down = [f"T{k}" for k in range(5, 12)]
    aorta = np.concatenate([line(down, 18, 3), line(["T12", "L1", "L2", "L3", "L4"], 6, 12)])
    canvas.tube(aorta, np.linspace(13.5, 9.5, len(aorta)) * scale, Tissue.VESSEL)
    cava = line(["T10", "T12", "L1", "L2", "L3", "L4"], -17, 12)
    canvas.tube(cava, 11.0 * scale, Tissue.VESSEL, stretch=(1.1, 0.85, 1.0))
    for side in (1, -1):
        fork = np.concatenate([line(["L4"], 3 * side, 14), line(["Sacrum"], 38 * side, 18)])
        canvas.tube(fork, 7.0 * scale, Tissue.VESSEL)
        neck = line(["C3", "C4", "C5", "C6", "C7", "T1"], 28 * side, 14)
        canvas.tube(neck, 4.5 * scale, Tissue.VESSEL, stretch=(1.2, 1.0, 1.0))
    for _ in range(int(canvas.rng.integers(0, 14))):
        spot = aorta[int(canvas.rng.integers(len(aorta)))] + canvas.rng.normal(0, 8, 3)
        _blob(canvas, spot, (2.5, 2.5, 4.0), Tissue.CALCIFICATION, (Tissue.VESSEL,))


def _paint_muscles(canvas: Canvas, chain: list[Placed], scale: float) -> None:
    """Paint the psoas muscles."""
    by_name = {p.name: p for p in chain}
    names = [n for n in ("T12", "L1", "L2", "L3", "L4", "L5", "L6") if n in by_name]
    for side in (1, -1):
        psoas = np.array(
            [
                by_name[n].frame.to_world(
                    (side * (by_name[n].shape.width / 2 + 5 + 3.0 * k) * scale, 2.0, 0)
                )
                for k, n in enumerate(names)
            ]
        )
        radii = np.linspace(7, 19, len(psoas)) * scale
        canvas.tube(
            psoas,
            radii,
            Tissue.MUSCLE,
            stretch=(0.95, 1.1, 1.0),
            over=(Tissue.VISCERAL_FAT, Tissue.BOWEL, Tissue.KIDNEY, Tissue.ORGAN),
        )


def _paint_table(canvas: Canvas, outline: Outline) -> None:
    """Paint the table as a curved shell below the back."""
    z_mm, y_mm, x_mm = canvas.grid.axes_mm
    lowest = max(outline.at(float(z))[1] + outline.at(float(z))[3] for z in z_mm[::8])
    height = lowest + 4.0 - (x_mm / 210.0) ** 2 * 25.0
    shell = np.abs(y_mm[:, None] - height[None, :]) < max(1.5, canvas.voxel_mm * 0.6)
    view = canvas.tissues
    view[:, shell] = np.where(view[:, shell] == Tissue.AIR, Tissue.TABLE, view[:, shell])
