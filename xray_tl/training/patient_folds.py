"""Folds for cross-validation within the training images, drawn from the data alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xray_tl.seeding import stream_seed

FOLDS = 5
OUTSIDE = -1
"""Fold of the rows of a target that cannot be cross-validated."""

Kind = Literal["binary", "multiclass", "multilabel"]


def patient_folds(
    truth: NDArray[np.float64], patients: Sequence[str], kind: Kind, folds: int = FOLDS
) -> NDArray[np.int64] | None:
    """Assign images to folds that share no patient and hold every class about equally often, where they can.

    The folds depend on the truth and on the patients' names alone: on no seed, and not on the order of the
    images. Patients of the same labels are dealt out in an order hashed from their names, since the names
    may be sorted by date or by hospital. A class with fewer patients than folds makes for fewer folds.

    Args:
        truth: Truth [N, T], 0 or 1, or NaN where it is not known.
        patients: Name of each image's patient [N]; an image's own name, if patients are not known.
        kind: `multilabel` draws folds for each target; else there is one assignment.
        folds: Number of folds, at most.

    Returns:
        Fold of each image, [N, T] if multilabel, else [N]. A target of which fewer than two patients have
        one of the classes has `OUTSIDE` everywhere; `None`: no target can be cross-validated.
    """
    known = np.isfinite(truth)
    if kind == "multiclass":
        classes = np.where(known.all(1), truth.argmax(1), truth.shape[1])[:, None]
        possible = truth.shape[1]
    else:
        classes, possible = np.where(known, truth > 0.5, 2).astype(np.int64), 2
    names, group = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    hashed = np.array([stream_seed("patient folds", str(name)) for name in names])
    columns = [_deal(column, group, hashed, possible, folds) for column in classes.T]
    if all((column == OUTSIDE).all() for column in columns):
        return None
    return np.stack(columns, 1) if kind == "multilabel" else columns[0]


def _deal(
    classes: NDArray[np.int64],
    group: NDArray[np.int64],
    hashed: NDArray[np.int64],
    possible: int,
    folds: int,
) -> NDArray[np.int64]:
    """Return the fold of each image [N] for one target; class `possible` stands for unknown truth."""
    images = np.zeros((len(hashed), possible + 1), np.int64)
    np.add.at(images, (group, classes), 1)
    patients = (images > 0).sum(0)
    there = patients[:possible][patients[:possible] > 0]
    folds = min(folds, there.min(initial=folds))
    if len(there) < 2 or folds < 2:
        return np.full(len(classes), OUTSIDE)
    rarest = np.lexsort((np.arange(possible + 1), patients))  # rarest class first
    # Last key first: patients with the rarest class, those with most images of it ahead, then the next.
    order = np.lexsort((hashed, *(-images[:, k] for k in rarest[::-1])))
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold[group]
