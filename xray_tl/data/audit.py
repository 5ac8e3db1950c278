"""What is wrong with a data set before it is trained on: leaks, copies, give-aways, damaged and blank images.

Everything is found from the decoded files and the table.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xray_tl.cache import Arrays, remember
from xray_tl.data.films import MODES
from xray_tl.data.near_copies import LARGEST, MOST_PAIRS, near_pairs, thumbnails
from xray_tl.data.radiographs import Collection, leaks
from xray_tl.evaluation.ceiling import weighted_auroc
from xray_tl.evaluation.floors import image_features

log = logging.getLogger(__name__)

AUDIT = 1
"""Version of what is computed: raise it whenever a change moves a value."""

BLANK = 2 / 255
"""Standard deviation of intensities below which an image shows nothing."""
GIVES_AWAY = 0.65
"""AUROC of an acquisition's properties above which, beyond two standard errors, they give the label away."""
FOLDS = 5
MOST_CASES = 100
"""Images that a finding names, at most."""
_AT_ONCE = 256


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know.

    Attributes:
        kind: What it is about: `unreadable`, `leak`, `copies`, `near copies`, `give-away`, `blank`,
            `balance` or `files`.
        serious: Whether results would be wrong or misleading.
        text: One line.
        cases: Images it names.
    """

    kind: str
    serious: bool
    text: str
    cases: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the record."""
        return {
            "kind": self.kind,
            "serious": self.serious,
            "text": self.text,
            "cases": list(self.cases[:MOST_CASES]),
        }


def audit(collection: Collection) -> list[Finding]:
    """Look for everything that makes results on a data set wrong, or hard to believe; serious first."""
    measured = remember("audit", _identity(collection), lambda: _measure(collection))
    found = [
        *_unreadable(collection),
        *_leaks(collection),
        *_copies(collection),
        *_near_copies(collection, measured["near"], measured["distance"]),
        *_give_aways(measured),
        *_blank(collection, measured["spread"]),
        *_balance(collection),
        *_files(collection),
    ]
    return sorted(found, key=lambda finding: not finding.serious)


def format_audit(found: list[Finding]) -> str:
    """Format findings for a terminal, one a line."""
    return "\n".join(f"{'!' if finding.serious else ' '} {finding.kind}: {finding.text}" for finding in found)


def _identity(collection: Collection) -> dict[str, Any]:
    return {
        "audit": AUDIT,
        "order": collection.source(None).identity(),
        "split": list(collection.split),
        "groups": hashlib.sha256(collection.groups.tobytes()).hexdigest(),
        "scikit-learn": sklearn.__version__,
    }


def _measure(collection: Collection) -> Arrays:
    log.info("audit: %d images", len(collection.split))
    films, truth = collection.films, collection.listing.truth
    prints, statistics, spread = _look(collection)
    near, distance = near_pairs(prints[:LARGEST], films.contents[:LARGEST], np.array(collection.split))
    acquisition = np.concatenate(
        [
            np.log(films.shape),
            np.log(films.shape[:, :1] / films.shape[:, 1:]),
            films.bits[:, None],
            np.eye(len(MODES))[films.mode],
        ],
        axis=1,
    )
    areas = [
        _area(features, truth[:, column], collection.groups)
        for features in (acquisition, statistics)
        for column in range(truth.shape[1])
    ]
    return {
        "near": near,
        "distance": distance,
        "spread": spread,
        "area": np.array(areas, dtype=np.float64).reshape(2, truth.shape[1], 2),
    }


def _look(
    collection: Collection,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return what is needed of every image, a few images at a time: print, statistics, spread."""
    parts = []
    for start in range(0, len(collection.split), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(collection.split)))
        image = collection.images(rows)
        shapes = collection.films.shape[rows] if collection.reading.fit == "pad" else None
        spread = image.std((1, 2)).astype(np.float64)
        parts.append((thumbnails(image, shapes), image_features(image)["image_statistics"], spread))
    prints, statistics, spreads = zip(*parts, strict=True)
    return np.concatenate(prints), np.concatenate(statistics), np.concatenate(spreads)


def _area(
    features: NDArray[Any], truth: NDArray[np.float32], groups: NDArray[np.int64]
) -> tuple[float, float]:
    """Return AUROC and standard error of a logistic regression, cross-validated over patients."""
    known = np.isfinite(truth)
    label, group = truth[known].astype(int), groups[known]
    folds = min(FOLDS, *(len(set(group[label == kind])) for kind in (0, 1)))
    if folds < 2 or not features[known].std(0).any():
        return 0.5, 0.0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    score = cross_val_predict(
        model, features[known], label, groups=group, cv=split, method="decision_function"
    )
    return weighted_auroc(label.astype(np.float64), score)


def _unreadable(collection: Collection) -> list[Finding]:
    skipped = collection.skipped
    if not skipped:
        return []
    name, why = next(iter(skipped.items()))
    text = f"{len(skipped)} files are left out, such as {name}: {why}"
    return [Finding("unreadable", serious=False, text=text, cases=tuple(skipped))]


def _leaks(collection: Collection) -> list[Finding]:
    return [
        Finding(
            "leak",
            serious=True,
            text=f"{len(pairs)} {what} in more than one split: {pairs[0][0]} and {pairs[0][1]}",
            cases=tuple(name for pair in pairs for name in pair),
        )
        for what, pairs in leaks(collection).items()
        if pairs
    ]


def _copies(collection: Collection) -> list[Finding]:
    table = collection.listing.table
    contents = pd.Series([row.tobytes() for row in collection.films.contents])
    twice = contents.duplicated(keep=False).to_numpy()
    found = []
    if twice.any():
        names = table["name"][twice]
        text = f"{twice.sum()} images have exact copies, such as {names.iloc[0]}"
        found.append(Finding("copies", serious=False, text=text, cases=tuple(names)))
    truth = pd.DataFrame(collection.listing.truth).assign(content=contents).groupby("content").nunique()
    differ = set(truth.index[(truth > 1).any(axis=1)])
    if differ:
        names = table["name"][contents.isin(differ).to_numpy()]
        text = f"{len(differ)} images stand under different labels: {', '.join(names[:2])}"
        found.append(Finding("copies", serious=True, text=text, cases=tuple(names)))
    return found


def _near_copies(
    collection: Collection, pairs: NDArray[np.int64], distance: NDArray[np.float64]
) -> list[Finding]:
    split, names = np.array(collection.split), collection.listing.table["name"].to_numpy()
    apart = split[pairs[:, 0]] != split[pairs[:, 1]]
    found = []
    if len(split) > LARGEST:
        text = f"the first {LARGEST} of {len(split)} images were compared"
        found.append(Finding("near copies", serious=False, text=text))
    for chosen, where in ((apart, "in different splits"), (~apart, "within a split")):
        if chosen.any():
            (a, b), nearest = pairs[chosen][0], distance[chosen][0]
            more = "at least " if len(pairs) == MOST_PAIRS else ""
            text = (
                f"{more}{chosen.sum()} pairs of images {where} look like one film, "
                f"nearest {names[a]} and {names[b]} (distance {nearest:.3f})"
            )
            cases = tuple(names[pairs[chosen].ravel()])
            found.append(
                Finding("near copies", serious=where == "in different splits", text=text, cases=cases)
            )
    return found


def _give_aways(measured: Arrays) -> list[Finding]:
    found = []
    what = ("size, bit depth and kind of the file", "histogram and moments of the image")
    for name, areas in zip(what, measured["area"], strict=True):
        area, error = areas[areas[:, 0].argmax()]
        text = f"{name} alone: AUROC {area:.3f} ± {1.96 * error:.3f}"
        serious = bool(area - 2 * error > GIVES_AWAY)
        if serious:
            text += ": the acquisition gives the label away"
        found.append(Finding("give-away", serious=serious, text=text))
    return found


def _blank(collection: Collection, spread: NDArray[np.float64]) -> list[Finding]:
    blank = spread < BLANK
    if not blank.any():
        return []
    names = collection.listing.table["name"][blank]
    text = f"{blank.sum()} images show nothing, such as {names.iloc[0]}"
    return [Finding("blank", serious=True, text=text, cases=tuple(names))]


def _balance(collection: Collection) -> list[Finding]:
    found = []
    split, truth = np.array(collection.split), collection.listing.truth
    for column, target in enumerate(collection.listing.targets):
        parts = []
        for name in ("train", "val", "test"):
            values = truth[split == name, column]
            known = np.isfinite(values)
            parts.append(f"{name} {int(np.nansum(values))} of {known.sum()}")
        found.append(Finding("balance", serious=False, text=f"{target}: {', '.join(parts)}"))
    patients = collection.listing.table["patient"]
    known = (patients != "").sum()
    text = f"{patients[patients != ''].nunique()} patients, known of {known} of {len(patients)} images"
    some = bool(0 < known < len(patients))  # the others may be of the same patients
    return [*found, Finding("balance", serious=some, text=text)]


def _files(collection: Collection) -> list[Finding]:
    films = collection.films
    kinds = Counter(
        f"{MODES[mode]} {bits} bit" for mode, bits in zip(films.mode, films.bits, strict=True)
    ).most_common(4)
    height, width = films.shape.T
    text = f"{width.min()} to {width.max()} x {height.min()} to {height.max()} pixels; " + ", ".join(
        f"{count} {kind}" for kind, count in kinds
    )
    return [Finding("files", serious=False, text=text)]
