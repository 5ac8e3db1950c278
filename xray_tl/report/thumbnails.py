"""Images of single cases, cut from a test set's atlas; no torch."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from xray_tl.study.analysis import StudyAnalysis
from xray_tl.study.saved_predictions import split_of
from xray_tl.study.study_folder import Arm, atlas_path

SHOWN = 8


@dataclass(frozen=True)
class Thumbnail:
    """A case as the report shows it.

    Attributes:
        case: Its name.
        target: The target, if there are several; else empty.
        truth: Its label.
        probability: Its predicted probability, mean over seeds (and over arms, if several).
        image: PNG as a data URI, or empty.
    """

    case: str
    target: str
    truth: int
    probability: float
    image: str


def confident_mistakes(done: StudyAnalysis) -> tuple[Thumbnail, ...]:
    """Return the cases with the largest errors of the best arm's mean probability."""
    mean = _mean_scores([done.arms[0]])
    wrong = mean[(mean["probability"] >= 0.5) != (mean["truth"] > 0.5)]
    order = (wrong["truth"] - wrong["probability"]).abs().sort_values(ascending=False)
    return _thumbnails(done, mean.loc[order.index[:SHOWN]])


def hardest_cases(done: StudyAnalysis) -> tuple[Thumbnail, ...]:
    """Return the cases that all arms together rank worst: positives far below, negatives far above others."""
    mean = _mean_scores(list(done.arms))
    order = (mean["truth"] - mean["rank"]).abs().sort_values(ascending=False)
    return _thumbnails(done, mean.loc[order.index[:SHOWN]])


def _mean_scores(arms: list[Arm]) -> pd.DataFrame:
    """Average truth, probability and rank (share of images with lower scores) over seeds, then over arms."""
    by_arm = []
    for arm in arms:
        parts = []
        for run in arm.runs:
            test = split_of(run.scores, "test").set_index(["case", "target"])
            rank = test.groupby(level="target")["logit"].rank(pct=True)
            parts.append(test[["truth", "probability"]].assign(rank=rank))
        by_arm.append(pd.concat(parts).groupby(level=[0, 1], sort=False).mean())
    return pd.concat(by_arm).groupby(level=[0, 1], sort=False).mean()


def _thumbnails(done: StudyAnalysis, cases: pd.DataFrame) -> tuple[Thumbnail, ...]:
    atlas = _open(atlas_path(done.study.folder, done.arms[0].test_set))
    several = len(done.arms[0].targets) > 1
    return tuple(
        Thumbnail(
            str(case),
            str(target) if several else "",
            int(truth),
            float(probability),
            _cut(atlas, str(case)),
        )
        for (case, target), truth, probability in zip(
            cases.index, cases["truth"], cases["probability"], strict=True
        )
    )


def _open(path: Path) -> Image.Image | None:
    try:
        image = Image.open(path)
        image.load()
        assert {"side", "columns", "cases"} <= image.info.keys()
    except (OSError, UnidentifiedImageError, AssertionError):
        return None
    return image


def _place(atlas: Image.Image, case: str) -> int | None:
    """Return the position of a case in an atlas, by its name, or by its index if cases have no names."""
    if "names" in atlas.info:
        names = json.loads(str(atlas.info["names"]))
        return names.index(case) if case in names else None
    return int(case) if case.isdecimal() and int(case) < int(atlas.info["cases"]) else None


def _cut(atlas: Image.Image | None, case: str) -> str:
    place = _place(atlas, case) if atlas is not None else None
    if atlas is None or place is None:
        return ""
    side, columns = int(atlas.info["side"]), int(atlas.info["columns"])
    x, y = place % columns * side, place // columns * side
    stream = io.BytesIO()
    atlas.crop((x, y, x + side, y + side)).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
