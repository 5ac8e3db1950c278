"""Audit of a data set before training: leaks, copies, acquisition shortcuts, damaged and blank images.

All findings are computed from the decoded files and the table of labels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray

from xray_tl.data.films.decode import LOOKS
from xray_tl.data.films.listing import COVARIATE
from xray_tl.data.films.names import PARTS
from xray_tl.data.films.needs import refusals
from xray_tl.data.films.radiographs import Collection, leaks
from xray_tl.data.films.reading import MODES
from xray_tl.data.quality.measures import AUDIT, measure
from xray_tl.data.quality.near_copies import LARGEST, MOST_PAIRS
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember

GIVES_AWAY = 0.65
"""A property of the acquisition predicts the label if its AUROC exceeds this by two standard errors."""
SHOWN = {
    "blank": "show nothing",
    "two-valued": "have two values alone, as masks have",
    "dark": "are far darker than their files' bits allow (data.intensity=percentile stretches each)",
}
"""Text of a finding on images that look wrong."""
MOST_CASES = 100
"""Largest number of images that a finding names."""
NAMED = 3
"""Largest number of spellings that a finding's line names."""


@dataclass(frozen=True)
class Finding:
    """A finding of the audit: a fact about a data set that its user should know.

    Attributes:
        kind: Its subject: `unreadable`, `split`, `spelling`, `leak`, `copies`, `near copies`, `give-away`,
            `blank`, `two-valued`, `dark`, `balance` or `files`.
        serious: Whether results would be wrong or misleading.
        text: One line.
        cases: Names of the images concerned.
        details: Further facts: why each file cannot be used, or the distance of each pair.
    """

    kind: str
    serious: bool
    text: str
    cases: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain values, for JSON."""
        return {
            "kind": self.kind,
            "serious": self.serious,
            "text": self.text,
            "cases": list(self.cases[:MOST_CASES]),
            "details": list(self.details[:MOST_CASES]),
        }


def audit(collection: Collection) -> list[Finding]:
    """Return all findings on a data set that make its results wrong or doubtful; serious ones come first."""
    measured = remember("audit", _identity(collection), lambda: measure(collection))
    found = [
        *_unreadable(collection),
        *_splits(collection),
        *_spellings(collection),
        *_leaks(collection),
        *_copies(collection),
        *_near_copies(collection, measured["near"], measured["distance"]),
        *_give_aways(collection, measured),
        *_looks(collection),
        *_balance(collection),
        *_files(collection),
    ]
    return sorted(found, key=lambda finding: not finding.serious)


def format_audit(found: list[Finding]) -> str:
    """Format findings for a terminal, one per line."""
    return "\n".join(f"{'!' if finding.serious else ' '} {finding.kind}: {finding.text}" for finding in found)


def _identity(collection: Collection) -> dict[str, Any]:
    return {
        "audit": AUDIT,
        "order": collection.source(None).identity(),
        "split": list(collection.split),
        "covariates": hashlib.sha256(_covariates_of(collection).encode()).hexdigest(),
        "groups": hashlib.sha256(collection.groups.tobytes()).hexdigest(),
        "scikit-learn": sklearn.__version__,
    }


def _covariates_of(collection: Collection) -> str:
    table = collection.listing.table
    return table[[name for name in map(str, table) if name.startswith(COVARIATE)]].to_csv(index=False)


def _unreadable(collection: Collection) -> list[Finding]:
    skipped = collection.skipped
    if not skipped:
        return []
    name, why = next(iter(skipped.items()))
    text = f"{len(skipped)} files are left out, such as {name}: {why}"
    return [Finding("unreadable", False, text, tuple(skipped), tuple(skipped.values()))]


def _splits(collection: Collection) -> list[Finding]:
    """Return the faults of the split that would stop training, or stop a test on all images."""
    needed = ("test",) if set(collection.split) == {"test"} else tuple(PARTS)
    return [Finding("split", True, why) for why in refusals(collection.listing, collection.split, needed)]


def _spellings(collection: Collection) -> list[Finding]:
    several = collection.listing.spellings
    if not several:
        return []
    shown = "; ".join(several[:NAMED]) + (
        f"; and {len(several) - NAMED} more" if len(several) > NAMED else ""
    )
    return [
        Finding("spelling", True, f"names that differ in spelling are taken for one: {shown}", (), several)
    ]


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
    pixels = pd.Series([row.tobytes() for row in collection.films.pixels])
    twice = pixels.duplicated(keep=False).to_numpy()
    found = []
    if twice.any():
        names = table["name"][twice]
        text = f"{twice.sum()} images have exact copies, such as {names.iloc[0]}"
        found.append(Finding("copies", serious=False, text=text, cases=tuple(names)))
    truth = pd.DataFrame(collection.listing.truth).assign(pixels=pixels).groupby("pixels").nunique()
    differ = set(truth.index[(truth > 1).any(axis=1)])
    if differ:
        names = table["name"][pixels.isin(differ).to_numpy()]
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
            details = tuple(
                f"{names[first]} and {names[second]}: {far:.3f}"
                for (first, second), far in zip(pairs[chosen], distance[chosen], strict=True)
            )
            found.append(Finding("near copies", where == "in different splits", text, cases, details))
    return found


def _give_aways(collection: Collection, measured: Arrays) -> list[Finding]:
    found = []
    targets = collection.listing.targets
    names = [
        name.removeprefix(COVARIATE)
        for name in map(str, collection.listing.table)
        if name.startswith(COVARIATE)
    ]
    what = ["size, bit depth and kind of the file", "histogram and moments of the image"]
    what += [f"covariates ({', '.join(names)})"] if names else []
    for name, areas in zip(what, measured["area"], strict=True):
        surest = int((areas[:, 0] - 2 * areas[:, 1]).argmax())
        area, error = areas[surest]
        of = f" of {targets[surest]}" if len(targets) > 1 else ""
        text = f"{name} alone: AUROC{of} {area:.3f} ± {1.96 * error:.3f}"
        serious = bool(area - 2 * error > GIVES_AWAY)
        if serious:
            text += ": what is no finding gives the label away"
        found.append(Finding("give-away", serious=serious, text=text))
    return found


def _looks(collection: Collection) -> list[Finding]:
    """Return findings on images that are blank, two-valued (as masks are), or far darker than their range."""
    found = []
    for index, look in enumerate(LOOKS):
        odd = collection.films.look == index
        if look and odd.any():
            names = collection.listing.table["name"][odd]
            text = f"{odd.sum()} of {len(odd)} images {SHOWN[look]}, such as {names.iloc[0]}"
            found.append(Finding(look, serious=True, text=text, cases=tuple(names)))
    return found


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
    some = bool(0 < known < len(patients))  # the other images may be of the same patients
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
