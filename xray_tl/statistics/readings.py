"""Scores of a multi-reader multi-case study as arrays: treatments x readers x cases.

In a sweep the readers are the seeds, the treatments are the arms, and the cases are the test images. Any
other long table with the columns `reader, treatment, case, truth, rating` is read in the same way. If it has
a column `target` (several findings per case) or `fold` (cross-validation), scores are compared only within a
target and fold, since the scores of two networks, or for two findings, have no common scale. If it has a
column `patient`, the cases of one patient are treated as dependent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.errors import InputError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

COLUMNS = ("reader", "treatment", "case", "truth", "rating")
STRATA = ("target", "fold")
"""Optional columns: scores are compared only within each of their values."""
PATIENT = "patient"
"""Optional column: the patient of the case; empty if not known."""
NO_READER = "-"
"""Reader of a treatment that needs none, such as a fixed rule: its scores are the same for all readers."""


@dataclass(frozen=True)
class Readings:
    """Scores of a study.

    Attributes:
        treatments: Names [T].
        readers: Names [R].
        truth: Whether a case is positive [N]; a case has one entry for each of its targets.
        rating: Scores [T, R, N], higher for positive; all NaN if a reader did not use a treatment.
        readerless: The treatments without readers: one row of scores is used for every reader.
        stratum: Target and fold of each entry [N], numbered from 0; `None`: there is one stratum.
        case: Case of each entry [N], numbered from 0; `None`: each entry is its own case.
        unit: Sampling unit of each entry [N], such as its patient, from 0; `None`: each entry is its own.
    """

    treatments: tuple[str, ...]
    readers: tuple[str, ...]
    truth: NDArray[np.bool_]
    rating: Array
    readerless: frozenset[str] = frozenset()
    stratum: Rows | None = None
    case: Rows | None = None
    unit: Rows | None = None

    @property
    def strata(self) -> list[Rows]:
        """Return the indices of the entries of each stratum."""
        everywhere = np.arange(len(self.truth))
        if self.stratum is None:
            return [everywhere]
        return [everywhere[self.stratum == value] for value in range(int(self.stratum.max()) + 1)]

    @property
    def folded(self) -> bool:
        """Tell whether no case is in all strata, as where folds have cases of their own."""
        most = 1 if self.case is None else int(np.bincount(self.case).max())
        return most < len(self.strata)

    @property
    def units(self) -> Rows:
        """Return the sampling unit (patient or case) of each entry [N]."""
        return np.arange(len(self.truth)) if self.unit is None else self.unit

    @property
    def cases(self) -> int:
        """Count the cases."""
        return len(self.truth) if self.case is None else int(self.case.max()) + 1

    @property
    def patients(self) -> int:
        """Count the sampling units: patients if they are known, else cases."""
        return int(self.units.max()) + 1

    @property
    def read(self) -> NDArray[np.bool_]:
        """Return which reader used which treatment [T, R]."""
        return ~np.isnan(self.rating[:, :, 0])

    @classmethod
    def of_table(cls, table: pd.DataFrame, name: str = "the table") -> Readings:
        """Build the arrays from a long table with one row per score; other columns are ignored.

        Args:
            table: `reader`, `treatment`, `case`, `truth` (0 or 1) and `rating` (a number).
            name: Name of the table in messages.

        Raises:
            InputError: A column is missing, a score is not a number, a case has two truths or two scores by
                one reader and treatment, a reader left out a case, or a class has fewer than two cases.
        """
        absent = [column for column in COLUMNS if column not in table]
        if absent:
            raise InputError(f"{name} has no column {', '.join(absent)}: it needs {', '.join(COLUMNS)}")
        if table.empty:
            raise InputError(f"{name} has no rows")
        strata = [column for column in STRATA if column in table]
        rows = table[[*COLUMNS, *strata, *([PATIENT] if PATIENT in table else [])]].copy()
        for column in ("reader", "treatment", "case", *strata):
            missing = rows[column].isna() | (rows[column] == "")
            if missing.any():
                raise InputError(f"{name} has a row without {column} ({_where(missing)})")
            rows[column] = rows[column].astype(str)
        rows["rating"], rows["truth"] = (_numbers(rows[column], name) for column in ("rating", "truth"))
        wrong = ~rows["truth"].isin((0, 1))
        if wrong.any():
            raise InputError(
                f"{name} has truth {rows['truth'][wrong].iloc[0]:g} ({_where(wrong)}): it is 0 or 1"
            )
        double = rows.duplicated(["reader", "treatment", "case", *strata])
        if double.any():
            reader, treatment, case = rows[double].iloc[0][["reader", "treatment", "case"]]
            raise InputError(f"{name} has case {case} twice for reader {reader}, treatment {treatment}")
        pairs = rows[["case", *strata, "truth"]].drop_duplicates()
        two_truths = pairs.duplicated(["case", *strata])
        if two_truths.any():
            raise InputError(f"{name} has both truths for case {pairs['case'][two_truths].iloc[0]}")
        return _laid_out(rows, strata, name)


def natural(names: Iterable[object]) -> list[object]:
    """Sort names; numbers come first, by value."""
    return sorted(names, key=lambda name: (0, float(str(name))) if _is_number(name) else (1, str(name)))


def _laid_out(rows: pd.DataFrame, strata: list[str], name: str) -> Readings:
    keys = [*strata, "case"]
    place = rows.groupby(keys, sort=False).ngroup().to_numpy()
    first = rows[~pd.Series(place, rows.index).duplicated()]  # in order of place
    truth = (first["truth"] > 0.5).to_numpy()
    stratum = np.asarray(first.groupby(strata, sort=False).ngroup(), np.int64) if strata else None
    units = _units(rows, first["case"], name)
    _check_classes(first.assign(unit=units), strata, name)
    treatment, treatments = pd.factorize(rows["treatment"])
    readers = natural(set(rows["reader"]) - {NO_READER}) or [NO_READER]
    alone = (rows["reader"] == NO_READER).to_numpy()
    reader = rows["reader"].map({reader: place for place, reader in enumerate(readers)}).fillna(0)
    mixed = set(treatment[alone]) & set(treatment[~alone])
    if mixed:
        raise InputError(
            f"{name} has treatment {treatments[min(mixed)]} both with readers and with reader {NO_READER}"
        )
    rating = np.full((len(treatments), len(readers), len(truth)), np.nan)
    rating[treatment, reader.astype(int), place] = rows["rating"]
    readerless = sorted(set(treatment[alone]))
    rating[readerless] = rating[readerless, :1]
    gaps = np.isnan(rating).sum(axis=2)
    gaps[gaps == len(truth)] = 0
    if gaps.any():
        row, column = divmod(int(gaps.argmax()), len(readers))
        raise InputError(
            f"{name} lacks {gaps.max()} of {len(truth)} cases for reader {readers[column]}, treatment "
            f"{treatments[row]}: every reader must read every case; leave them out for all, or that reader"
        )
    names = frozenset(str(treatments[place]) for place in readerless)
    return Readings(
        tuple(map(str, treatments)),
        tuple(map(str, readers)),
        truth,
        rating,
        names,
        stratum,
        pd.factorize(first["case"])[0],
        units,
    )


def _check_classes(first: pd.DataFrame, strata: list[str], name: str) -> None:
    """Raise an error if a target or fold has too few cases for an AUROC and its standard error."""
    for values, rows in first.groupby(strata, sort=False) if strata else [((), first)]:
        of = "".join(f", {column} {value}" for column, value in zip(strata, values, strict=True))
        for kind, positive in (("positive", True), ("negative", False)):
            own = rows[(rows["truth"] > 0.5) == positive]
            if len(own) < 2:
                raise InputError(
                    f"{name}{of} has {len(own)} {kind} cases: an AUROC and its error need two of each kind"
                )
            if own["unit"].nunique() < 2:
                raise InputError(
                    f"{name}{of} has {kind} cases of one patient alone: the error of an AUROC needs two"
                )


def _units(rows: pd.DataFrame, cases: pd.Series, name: str) -> Rows:
    """Return the sampling unit of each case: its patient if known, else the case itself."""
    unit = "case " + cases
    if PATIENT in rows:
        known = rows[rows[PATIENT].notna() & (rows[PATIENT].astype(str) != "")]
        pairs = known[["case", PATIENT]].drop_duplicates()
        double = pairs.duplicated("case")
        if double.any():
            raise InputError(f"{name} has two patients for case {pairs['case'][double].iloc[0]}")
        whose = cases.map(pairs.set_index("case")[PATIENT].astype(str))
        unit = unit.where(whose.isna(), "patient " + whose)
    return pd.factorize(unit)[0].astype(np.int64)


def _numbers(column: pd.Series, name: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    wrong = ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if wrong.any():
        found = column[wrong].iloc[0]
        found = "nothing" if str(found).strip() == "" else found
        raise InputError(
            f"{name} has {column.name} {found!s} ({_where(pd.Series(wrong))}): it must be a finite number"
        )
    return values.astype(np.float64)


def _where(wrong: pd.Series) -> str:
    return f"row {int(np.flatnonzero(wrong.to_numpy())[0]) + 1}, {int(wrong.sum())} such rows"


def _is_number(name: object) -> bool:
    try:
        float(str(name))
    except ValueError:
        return False
    return True
