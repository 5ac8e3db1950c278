"""A head solved exactly: the optimum that another library finds, whatever the seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from sklearn.linear_model import LogisticRegression
from torch import nn

from tests.conftest import compose_config
from xray_tl.config import OptimConfig
from xray_tl.data.splits import Targets
from xray_tl.errors import InputError, RunError
from xray_tl.runs import probe
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS
from xray_tl.training.objective import Objective

Tiny = Callable[..., DictConfig]
PENALTY = 0.02


def drawn(columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw 60 cases of 8 features, some of them informative, and which of the columns each belongs to."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8))
    label = np.argmax(features[:, :columns] + rng.normal(size=(60, columns)), axis=1)
    return torch.tensor(features), torch.tensor(label)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_it_is_the_optimum_of_scikit_learn(kind: Literal["binary", "multiclass"], class_weights: str) -> None:
    features, label = drawn(2 if kind == "binary" else 3)
    truth = label[:, None].double() if kind == "binary" else nn.functional.one_hot(label, 3).double()
    targets = Targets(kind, tuple("abc"[: truth.shape[1]]))
    objective = Objective(targets, OptimConfig(class_weights=class_weights), truth.float().mean(0))
    head = nn.Linear(8, truth.shape[1])
    loss, _ = probe.solve(head, objective, features, truth, PENALTY)
    expected = LogisticRegression(
        C=1 / (PENALTY * len(features)),
        class_weight="balanced" if class_weights == "balanced" else None,
        tol=1e-10,
        max_iter=10_000,
    ).fit(features, label)
    # 1e-6: the head is kept in float32.
    np.testing.assert_allclose(head.weight.detach(), expected.coef_, atol=1e-6)
    ours, theirs = (np.asarray(bias) for bias in (head.bias.detach(), expected.intercept_))
    np.testing.assert_allclose(ours - ours.mean() * (kind != "binary"), theirs, atol=1e-5)
    assert loss == pytest.approx(float(objective(head(features.float()), truth.float()).detach()), abs=1e-6)
    assert objective.positive_weight.dtype == torch.float32, "the run's own objective is left as it is"


def test_no_optimum_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    features, label = drawn(2)
    objective = Objective(Targets("binary", ("a",)), OptimConfig(), torch.tensor([0.5]))
    monkeypatch.setattr(probe, "ITERATIONS", 2)
    with pytest.raises(RunError, match=r"no optimum in 2 iterations .* raise optim\.weight_decay=0\.02"):
        probe.solve(nn.Linear(8, 1), objective, features, label[:, None].double(), PENALTY)


def test_a_run_is_the_same_for_every_seed_and_can_be_evaluated(tiny: Tiny, tmp_path: Path) -> None:
    for seed in (0, 1):
        record = run(tiny("mode=frozen", "optim=lbfgs", f"seed={seed}"), tmp_path / str(seed))
        assert record["status"] == "complete"
        assert len(record["history"]) == 1
    tables = [pd.read_csv(tmp_path / seed / PREDICTIONS) for seed in ("0", "1")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    cfg = compose_config(f"run={tmp_path / '0'}", name="evaluate")
    assert "came out exactly" in evaluate(cfg, tmp_path / "0", [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mode=finetune",), "mode=finetune must be mode=frozen"),
        (("mode=frozen", "optim.weight_decay=0"), r"needs optim\.weight_decay of more than 0"),
    ],
)
def test_what_cannot_be_solved_is_refused(
    tiny: Tiny, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tiny("optim=lbfgs", *options), tmp_path / "run")
