"""What an earlier sweep knows of a planned study: variances of its contrasts, and what its arms cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from xray_tl.config.planned import Declared
from xray_tl.errors import InputError
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.families import estimated
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.readings import NO_READER
from xray_tl.study.arm_readings import readings
from xray_tl.study.planned_arms import contrast_of, is_meant
from xray_tl.study.study_folder import Arm, Study


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
        arms: Labels of its arms; of a pair, that from which the other is taken first.
        of_best: Whether its question is which arm is best.
    """

    question: str
    name: str
    family: int
    estimate: Estimate
    arms: tuple[str, ...]
    of_best: bool = False


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
                    Known(
                        question=question,
                        name=contrast.name,
                        family=len(asked),
                        estimate=contrast.estimate,
                        arms=tuple(contrast.weights),
                        of_best=declared.of_best,
                    )
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
