"""What the runs of a study drew, and which of them are independent: seeds, training sets, sets of weights.

A reader is one independent draw of everything that a verdict is to hold for. So runs that share a set of
initial weights or a training set are no readers of their own, where sets vary: they are averaged within it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from xray_tl.statistics.readings import NO_READER, natural

SHA_DIGITS = 6
"""Number of digits of a set's hash that tell it apart from others of the same seed."""


@dataclass(frozen=True)
class Draw:
    """What a run drew.

    Attributes:
        seed: Its training seed; `None`: it trained nothing, so that no seed changes it.
        training_set: Its `data.train_seed`.
        weights: Name of its set of initial weights; `None`: they are published and come from no seed.
    """

    seed: int | None
    training_set: int
    weights: str | None


@dataclass(frozen=True)
class Varied:
    """What varies among runs with the same test images, beside seeds.

    Attributes:
        weights: Whether sets of weights do, of the same backbone and recipe.
        training_sets: Whether training sets do.
        pretrained: Whether the sets that vary were trained on a source task; if not, they are random.
    """

    weights: bool = False
    training_sets: bool = False
    pretrained: bool = True

    @property
    def of_weights(self) -> str:
        """Return what a set of weights is called."""
        return "pretraining" if self.pretrained else "initialisation"

    @property
    def reader(self) -> str:
        """Return what a reader is called."""
        if self.weights and self.training_sets:
            return "draw"
        if self.weights:
            return self.of_weights
        return "training set" if self.training_sets else "seed"


def sets_of_weights(runs: pd.DataFrame, kinds: Sequence[Hashable]) -> list[str | None]:
    """Return the name of each run's set of initial weights: its `weights.seed`; `None` for published weights.

    Machines make different sets from one seed. Of those of one kind, the most used has the plain name, and
    the others have the start of their hash too: `0 (d51f01)`.

    Args:
        runs: Rows of the table of runs.
        kinds: Of each run, what its weights depend on beside their seed, and the machine: backbone, recipe.
    """
    places = [
        None if pd.isna(seed) else (kind, int(seed), str(sha256))
        for kind, seed, sha256 in zip(kinds, runs["weights_seed"], runs["weights_sha256"], strict=True)
    ]
    used = Counter(place for place in places if place is not None)
    first: dict[tuple[Hashable, int], str] = {}
    for kind, seed, sha256 in sorted(used, key=lambda place: (-used[place], place[2])):
        first.setdefault((kind, seed), sha256)
    names: list[str | None] = []
    for place in places:
        if place is None:
            names.append(None)
        else:
            *whose, sha256 = place
            plain = first[place[0], place[1]] == sha256
            names.append(f"{whose[1]}" if plain else f"{whose[1]} ({sha256[:SHA_DIGITS]})")
    return names


def training_sets(runs: pd.DataFrame) -> list[int]:
    """Return the number of each run's training set: its `data.train_seed`.

    Of several seeds that gave the same images it is the lowest, as in sweeps of an earlier version, in which
    `data.train_seed=${seed}` had no effect.
    """
    known = runs["data_hash"].fillna("no hash of " + runs["run_dir"])
    return [int(seed) for seed in runs["train_seed"].groupby(known).transform("min")]


def of_several_sets(draws: Sequence[Draw], kinds: Sequence[Hashable]) -> list[bool]:
    """Return, for each run, whether the runs of its kind start from several sets of weights.

    Args:
        draws: Draw of each run.
        kinds: As in `sets_of_weights`.
    """
    sets: dict[Hashable, set[str | None]] = {}
    for draw, kind in zip(draws, kinds, strict=True):
        sets.setdefault(kind, set()).add(draw.weights)
    return [len(sets[kind]) > 1 for kind in kinds]


def varied(draws: Sequence[Draw], several: Sequence[bool], sources: Iterable[str]) -> Varied:
    """Return what varies among runs.

    Args:
        draws: Draw of each run.
        several: Of each run, whether those of its kind start from several sets of weights.
        sources: Where each run's weights come from.
    """
    pretrained = [source != "random" for source, vary in zip(sources, several, strict=True) if vary]
    return Varied(
        any(several), len({draw.training_set for draw in draws}) > 1, any(pretrained) or not pretrained
    )


def readers(arms: Sequence[Hashable], draws: Sequence[Draw], vary: Varied) -> list[str]:
    """Return the name of each run's reader.

    Of sets of weights and training sets that vary, runs that share one have the same reader, and so have
    those that share one with these. Where neither varies, a reader is a seed. An arm without what varies in
    others, such as one with published weights, or of a backbone with one set for all its seeds, has its seeds
    paired with their readers: by name, or in order.

    Args:
        arms: Arm of each run.
        draws: Draw of each run; without a set of weights that is the same for all runs of its kind.
        vary: What varies.
    """
    levels = [_levels(draw, vary) for draw in draws]
    of = _components(levels)
    names = {root: _name([level for level in of if of[level] == root], vary) for root in set(of.values())}
    drawn = [names[of[own[0]]] if own else None for own in levels]
    ordered = [str(name) for name in natural(set(names.values()))]
    seeds: dict[Hashable, set[int]] = {}
    for arm, draw, name in zip(arms, draws, drawn, strict=True):
        if name is None and draw.seed is not None:
            seeds.setdefault(arm, set()).add(draw.seed)
    paired = {arm: _paired(sorted(found), ordered) for arm, found in seeds.items()}
    return [
        name if name is not None else NO_READER if draw.seed is None else paired[arm][draw.seed]
        for arm, draw, name in zip(arms, draws, drawn, strict=True)
    ]


Level = tuple[str, str]
"""A factor that varies, and what was drawn of it."""


def _levels(draw: Draw, vary: Varied) -> list[Level]:
    found = []
    if vary.weights and draw.weights is not None:
        found.append(("weights", draw.weights))
    if vary.training_sets:
        found.append(("training set", str(draw.training_set)))
    return found


def _components(levels: Sequence[list[Level]]) -> dict[Level, Level]:
    """Return, for each level, the first of those that runs connect it with."""
    of: dict[Level, Level] = {level: level for level in chain.from_iterable(levels)}
    for first, *others in (own for own in levels if own):
        for other in others:
            merged = of[other]
            of = {level: of[first] if root == merged else root for level, root in of.items()}
    return of


def _name(levels: Sequence[Level], vary: Varied) -> str:
    """Return a reader's name: of its sets of weights, of its training sets, or `weights/training set`."""
    parts = [
        ",".join(map(str, natural(name for kind, name in levels if kind == factor)))
        for factor, varies in (("weights", vary.weights), ("training set", vary.training_sets))
        if varies
    ]
    return "/".join(part or NO_READER for part in parts)


def _paired(seeds: Sequence[int], ordered: Sequence[str]) -> dict[int, str]:
    """Return the reader of each seed of an arm that has nothing of what varies in others."""
    if not ordered or {str(seed) for seed in seeds} <= set(ordered):
        return {seed: str(seed) for seed in seeds}
    beyond = [f"seed {seed}" for seed in seeds[len(ordered) :]]
    return dict(zip(seeds, [*ordered, *beyond], strict=False))
