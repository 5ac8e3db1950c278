"""The size of a study before it starts: what its questions take, by the variances of an earlier sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from xray_tl.config.planned import Declared
from xray_tl.errors import InputError
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.families import estimated
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.planning import COUNTS, Staged, fewest, fixed, staged
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.verdict import MARGIN
from xray_tl.study.arm_readings import readings
from xray_tl.study.planned_arms import contrast_of, is_meant
from xray_tl.study.study_folder import Arm, Study

Array = NDArray[np.float64]

TRUE = (0.0, 0.01, 0.02, 0.05)
"""True differences at which the chance of each verdict is simulated."""
ROUNDED = 0.005
"""Difference of two chances that counts as none: more seeds than are worth it hardly change one near 1."""
TIMES = (1, 2, 4)
"""Multiples of the study's images that are looked at."""


@dataclass(frozen=True)
class Cost:
    """What an arm takes.

    Attributes:
        fit: Seconds of a run without its test images.
        test: Seconds of its test for an image.
        once: Whether one run serves all readers: its head is solved, and nothing that varies enters.
    """

    fit: float
    test: float
    once: bool

    def minutes(self, readers: float, images: int) -> float:
        """Return the minutes for so many readers, one run after the other."""
        return (1 if self.once else readers) * (self.fit + images * self.test) / 60


@dataclass(frozen=True)
class Known:
    """A planned contrast of which an earlier sweep knows the variances.

    Attributes:
        question: Its question.
        name: Its name.
        family: Number of contrasts of the question.
        estimate: Its estimate there, of which variances alone are used.
        arms: Labels of its arms.
    """

    question: str
    name: str
    family: int
    estimate: Estimate
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Pilot:
    """An earlier sweep, as far as a plan needs it.

    Attributes:
        folder: Its folder.
        known: Contrasts with variances.
        absent: Planned contrasts without, and why.
        costs: Label of an arm -> what it takes.
        reader: What a reader is called.
        images: Number of its test images.
        backbones: Number of backbones of which every reader has a set of weights of its own.
        differing: Options of data and training in which it differs from the study.
    """

    folder: Path
    known: tuple[Known, ...]
    absent: tuple[str, ...]
    costs: Mapping[str, Cost]
    reader: str
    images: int
    backbones: int
    differing: tuple[str, ...]

    @property
    def questions(self) -> dict[str, list[Known]]:
        """Return the contrasts by question."""
        found: dict[str, list[Known]] = {}
        for contrast in self.known:
            found.setdefault(contrast.question, []).append(contrast)
        return found

    @property
    def readers(self) -> int:
        """Return the fewest readers from whom a variance is known; 0: no reader varies any contrast."""
        counts = [contrast.estimate.readers for contrast in self.known if not contrast.estimate.readerless]
        return min(counts, default=0)


@dataclass(frozen=True)
class Size:
    """What a question takes in one look, with so many images.

    Attributes:
        question: Its name.
        images: Number of test images.
        told: Fewest readers that tell the effect for each of its contrasts; `None`: none do; 0: no reader
            varies them, and images are enough.
        same: Fewest readers that show equal arms to be equivalent.
        trainings: Number of runs with the larger of both; `None`: it is not known.
        minutes: Minutes that these take.
    """

    question: str
    images: int
    told: int | None
    same: int | None
    trainings: int | None
    minutes: float | None


@dataclass(frozen=True)
class Course:
    """What `until=decided` is expected to take, over all contrasts.

    Attributes:
        chances: Question, contrast and, for each of `TRUE`, its chances.
        trainings: Mean number of runs for each of `TRUE`.
        saved: Share of the runs that it saves against one look with so many readers that as much is decided,
            on average over `TRUE`; NaN if no number of readers decides as much.
        minutes: Mean minutes, likewise.
    """

    chances: tuple[tuple[Known, tuple[Staged, ...]], ...]
    trainings: tuple[float, ...]
    saved: float
    minutes: float


def pilot(folder: Path, families: Mapping[str, Sequence[Declared]], settings: Mapping[str, object]) -> Pilot:
    """Read the variances of planned contrasts from an earlier sweep.

    Args:
        folder: Its folder.
        families: Questions of the study that is planned.
        settings: Options of the study, `group.option` -> value, that its arms do not choose.

    Raises:
        InputError: There is no run; no arm of the questions is among its arms; or none has two readers.
    """
    study = Study.load(folder)
    if not study.arms:
        raise InputError(f"dir={folder} has no run that can be analysed: {'; '.join(study.problems)}")
    arms = study.on(study.test_sets[0])
    computed = cells(readings(arms))
    known, absent = [], []
    for question, asked in families.items():
        for declared in asked:
            found = {name: [arm for arm in arms if is_meant(arm, name)] for name, _ in declared.weights}
            contrast = estimated(computed, contrast_of(folder, declared, found))
            if contrast.estimate is None:
                absent.append(f"{declared.text}: {contrast.missing}")
            elif not (contrast.estimate.random_readers or contrast.estimate.readerless):
                absent.append(f"{contrast.name}: {study.varied.reader}s do not vary it: it has one")
            else:
                known.append(
                    Known(question, contrast.name, len(asked), contrast.estimate, tuple(contrast.weights))
                )
    if not known:
        raise InputError(
            f"dir={folder} tells no variance that these questions need ({'; '.join(absent)}): it takes the "
            f"study's own arms, with at least two {study.varied.reader}s"
        )
    used = {label for contrast in known for label in contrast.arms}
    own = [arm for arm in arms if arm.label in used]
    images = computed.readings.cases
    costs = {arm.label: _cost(arm, images) for arm in own}
    backbones = {arm.name["model"] for arm in own if any(run.anew for run in arm.runs)}
    return Pilot(
        folder,
        tuple(known),
        tuple(absent),
        costs,
        study.varied.reader,
        images,
        len(backbones),
        _differing(own, settings),
    )


def _cost(arm: Arm, images: int) -> Cost:
    times = [run.record.get("time") or {} for run in arm.runs]
    setup, fit, test = (
        fmean(float(time.get(key) or 0.0) for time in times) for key in ("setup_s", "fit_s", "test_s")
    )
    return Cost((setup + fit) * arm.folds, test * arm.folds / images, arm.readers == [NO_READER])


def _differing(arms: Sequence[Arm], settings: Mapping[str, object]) -> tuple[str, ...]:
    """Return the options in which every arm of the sweep has another value than the study."""
    found = []
    for key, value in settings.items():
        values = {str(arm.settings.get(key)) for arm in arms if key in arm.settings}
        if values and str(value) not in values:
            found.append(f"{key}={'/'.join(sorted(values))} there, {value} here")
    return tuple(found)


def sizes(earlier: Pilot, images: int, effect: float, margin: float = MARGIN) -> list[Size]:
    """Return what each question takes in one look, with the study's images and multiples of them.

    Args:
        earlier: The earlier sweep.
        images: Number of test images of the study.
        effect: True difference that is to be told.
        margin: Largest difference that counts as equivalent.
    """
    rows = []
    for question, contrasts in earlier.questions.items():
        for times in TIMES:
            count = images * times
            told = [_fewest(c, fixed(c.estimate, count, effect, margin, c.family).better) for c in contrasts]
            same = [_fewest(c, fixed(c.estimate, count, 0.0, margin, c.family).same) for c in contrasts]
            arms = sorted({label for contrast in contrasts for label in contrast.arms})
            readers = _most([_most(told), _most(same)])
            runs = minutes = None
            if readers is not None:
                runs = sum(1 if earlier.costs[arm].once else readers for arm in arms)
                minutes = sum(earlier.costs[arm].minutes(readers, count) for arm in arms)
            rows.append(Size(question, count, _most(told), _most(same), runs, minutes))
    return rows


def _fewest(contrast: Known, rates: Array) -> int | None:
    """Return the fewest readers that are enough; 0 where none varies the contrast, and images are enough."""
    found = fewest(rates)
    return 0 if found is not None and contrast.estimate.readerless else found


def _most(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def course(earlier: Pilot, images: int, rungs: Sequence[int], margin: float = MARGIN) -> Course:
    """Return what `until=decided` is expected to take; contrasts are simulated independently of each other.

    Args:
        earlier: The earlier sweep.
        images: Number of test images of the study.
        rungs: Numbers of readers.
        margin: Largest difference that counts as equivalent.
    """
    chances, once = [], np.zeros((len(TRUE), len(COUNTS)))
    for place, contrast in enumerate(earlier.known):
        known, family = contrast.estimate, contrast.family
        chances.append(
            (
                contrast,
                tuple(staged(known, images, true, rungs, margin, family, seed=place) for true in TRUE),
            )
        )
        looked = [fixed(known, images, true, margin, family) for true in TRUE]
        once += np.array([found.better + found.equivalent for found in looked]) / len(earlier.known)
    decided = fmean(found.better + found.equivalent for _, each in chances for found in each)
    needed = {
        label: np.stack([_readers(chances, label, k) for k in range(len(TRUE))]) for label in earlier.costs
    }
    trained = [label for label, cost in earlier.costs.items() if not cost.once]
    single = len(needed) - len(trained)
    runs = tuple(single + sum(float(needed[label][k].mean()) for label in trained) for k in range(len(TRUE)))
    minutes = sum(cost.minutes(float(needed[label].mean()), images) for label, cost in earlier.costs.items())
    rates = np.maximum.accumulate(once.mean(0))
    saved = float("nan")
    if rates[-1] >= decided - ROUNDED:
        as_often = single + len(trained) * float(np.interp(decided - ROUNDED, rates, COUNTS))
        saved = 1 - fmean(runs) / as_often
    return Course(tuple(chances), runs, saved, minutes)


def _readers(
    chances: Sequence[tuple[Known, tuple[Staged, ...]]], label: str, place: int
) -> NDArray[np.int64]:
    """Return how many readers an arm has at the end of each study: as its longest contrast."""
    own = [each[place].readers for known, each in chances if label in known.arms]
    return np.max(own, axis=0)
