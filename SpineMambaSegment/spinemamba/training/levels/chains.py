"""Random chains: which vertebrae of a spine are in view, numbering variants, and faults.

The instances of a scan are not always its vertebrae. A chain may lack one, hold two in one or one
in two, or hold a piece of a rib, a process, the skull or the pelvis.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from spinemamba.training.levels.spines import SACRUM, SPACING_MM, Spine
from spinemamba.training.synthesis.augment import chance, uniform

VERTEBRA, MERGED, FOREIGN = "vertebra", "merged", "foreign"
UPPER, LOWER = "upper", "lower"


@dataclass(frozen=True)
class ChainOptions:
    """Distribution of random chains.

    Attributes:
        whole: Share of chains with all vertebrae of the spine.
        from_sacrum: Share of the others that end with the sacrum if the spine has one; elsewhere
            they end anywhere, so that most show neither sacrum nor dens.
        count: Fewest and most vertebrae of a part.
        variant: Share of spines in which a level is removed or inserted.
        missed: Share of chains without one of the inner vertebrae.
        merged: Share of chains in which two vertebrae are one instance.
        foreign: Share of chains with an instance that is not a vertebra.
        shift_mm: Standard deviation of the centres along up, back and left.
        end_shift_mm: Additional one of the ends along the spine: they may be truncated.
        doubled: Share of chains in which a vertebra is two instances, one above the other.
    """

    whole: float = 0.12
    from_sacrum: float = 0.1
    count: tuple[int, int] = (2, 14)
    variant: float = 0.1
    missed: float = 0.1
    merged: float = 0.06
    foreign: float = 0.12
    shift_mm: tuple[float, float, float] = (1.8, 1.8, 1.5)
    end_shift_mm: float = 2.5
    doubled: float = 0.05


@dataclass(frozen=True)
class Entry:
    """One instance of a chain.

    Attributes:
        position: Index in `Chain.sources`.
        kind: `VERTEBRA`, `MERGED` with the next one, the `UPPER` or `LOWER` half of a vertebra
            that is two instances, or `FOREIGN`.
        shift_mm: Displacement of the centre along up, back and left.
        radius_mm: Radius of a foreign instance.
    """

    position: int
    kind: str = VERTEBRA
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius_mm: float = 0.0


@dataclass(frozen=True)
class Chain:
    """Instances of a spine, from top to bottom.

    Attributes:
        sources: Vertebra of the spine at each position; a level that is inserted repeats one.
        levels: Level at each position.
        first: First position in view.
        stop: Position after the last one in view.
        entries: Instances.
    """

    sources: tuple[int, ...]
    levels: tuple[str, ...]
    first: int
    stop: int
    entries: tuple[Entry, ...] = field(default=())

    @property
    def lacks_last_ribs(self) -> bool:
        """Whether the vertebra with the last ribs was removed: L1 follows T11."""
        return "T11,L1" in ",".join(self.levels)


def draw_chain(spine: Spine, options: ChainOptions, generator: torch.Generator) -> Chain:
    """Draw a random chain of a spine; the same state of the generator gives the same chain."""
    low, high = spine.usable
    chain = Chain(tuple(range(low, high)), spine.levels[low:high], 0, high - low)
    if chance(options.variant, generator):
        chain = _with_variant(chain, generator)
    chain = _part(chain, options, generator)
    entries = [_entry(k, chain, options, generator) for k in range(chain.first, chain.stop)]
    if len(entries) > 3 and chance(options.missed, generator):
        del entries[_integer(1, len(entries) - 1, generator)]
    if len(entries) > 3 and chance(options.merged, generator):
        _merge(entries, chain, spine, generator)
    if options.doubled and chance(options.doubled, generator):
        _double(entries, chain, generator)
    if chance(options.foreign, generator):
        _add_foreign(entries, chain, generator)
    return replace(chain, entries=tuple(entries))


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    """Return a random integer of the range from ``low`` to below ``high``."""
    return int(torch.randint(low, max(high, low + 1), (), generator=generator))


def _with_variant(chain: Chain, generator: torch.Generator) -> Chain:
    """Remove or insert a level at the end of a region; unchanged if the region's end is missing."""
    region, last, extra = (("T", "T12", "T13"), ("L", "L5", "L6"))[_integer(0, 2, generator)]
    if last not in chain.levels or sum(name[0] == region for name in chain.levels) < 4:
        return chain
    sources, levels = list(chain.sources), list(chain.levels)
    at = levels.index(last)
    if chance(0.5, generator):
        del sources[at], levels[at]
    else:
        sources.insert(at, sources[at])
        levels.insert(at + 1, extra)
    return replace(chain, sources=tuple(sources), levels=tuple(levels), stop=len(levels))


def _part(chain: Chain, options: ChainOptions, generator: torch.Generator) -> Chain:
    """Return the chain with a random part in view."""
    length = len(chain.sources)
    if chance(options.whole, generator):
        return chain
    low, high = (min(count, length) for count in options.count)
    # Squared, because short parts are the difficult ones.
    count = low + round((high - low) * uniform(0, 1, generator) ** 2)
    to_sacrum = chain.levels[-1] == SACRUM and chance(options.from_sacrum, generator)
    first = length - count if to_sacrum else _integer(0, length - count + 1, generator)
    return replace(chain, first=first, stop=first + count)


def _entry(k: int, chain: Chain, options: ChainOptions, generator: torch.Generator) -> Entry:
    noise = torch.randn(4, generator=generator).tolist()
    shift = [n * s for n, s in zip(noise, options.shift_mm, strict=False)]
    if k in (chain.first, chain.stop - 1):
        shift[0] += noise[3] * options.end_shift_mm
    return Entry(k, shift_mm=(shift[0], shift[1], shift[2]))


def _merge(entries: list[Entry], chain: Chain, spine: Spine, generator: torch.Generator) -> None:
    """Merge two neighbours to one instance, in place; not with the sacrum."""
    k = _integer(0, len(entries) - 1, generator)
    upper, lower = entries[k].position, entries[k + 1].position
    if lower != upper + 1 or chain.levels[lower] == SACRUM:
        return
    ends = spine.centres_vox[[chain.sources[upper], chain.sources[lower]]]
    half_vox = float((ends[0] - ends[1]).norm()) / 2
    down, back, left = entries[k].shift_mm
    shift = (down - half_vox * SPACING_MM, back, left)
    entries[k : k + 2] = [Entry(upper, MERGED, shift)]


HALF_MM = 6.0
"""Distance of the centre of half a vertebra from that of the whole one."""


def _double(entries: list[Entry], chain: Chain, generator: torch.Generator) -> None:
    """Divide a vertebra into two instances, in place; not the sacrum."""
    k = _integer(0, len(entries), generator)
    entry = entries[k]
    if entry.kind != VERTEBRA or chain.levels[entry.position] == SACRUM:
        return
    up, back, left = entry.shift_mm
    entries[k : k + 1] = [
        Entry(entry.position, kind, (up + shift, back, left))
        for kind, shift in ((UPPER, HALF_MM), (LOWER, -HALF_MM))
    ]


_FOREIGN_MM = (
    ((-8.0, 8.0), (18.0, 38.0), (-10.0, 10.0)),  # a spinous process
    ((-25.0, 10.0), (-15.0, 25.0), (30.0, 70.0)),  # a rib
    ((20.0, 35.0), (-10.0, 20.0), (15.0, 50.0)),  # beyond an end: skull, shoulder, pelvis
)
"""Ranges of the centre of a foreign instance along up, back and aside, from a vertebra."""

_FOREIGN_RADIUS_MM = (9.0, 19.0)


def _add_foreign(entries: list[Entry], chain: Chain, generator: torch.Generator) -> None:
    """Insert an instance that is not a vertebra, in place."""
    kind = _integer(0, len(_FOREIGN_MM), generator)
    up, back, aside = (uniform(*limits, generator) for limits in _FOREIGN_MM[kind])
    at_end = kind == len(_FOREIGN_MM) - 1
    k = (len(entries) - 1) * _integer(0, 2, generator) if at_end else None
    k = _integer(0, len(entries), generator) if k is None else k
    if at_end and k:
        up = -up
    if chain.levels[entries[k].position] == SACRUM:
        up = abs(up)  # the sacrum is always last
    aside = -aside if chance(0.5, generator) else aside
    radius_mm = uniform(*_FOREIGN_RADIUS_MM, generator)
    new = Entry(entries[k].position, FOREIGN, (up, back, aside), radius_mm)
    entries.insert(k if up >= 0 else k + 1, new)
