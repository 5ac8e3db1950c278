"""Learning rates chosen on validation, before the runs, without the test images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from xray_tl.config import Settings
from xray_tl.config.validation import validate
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.splits import Batch, KeptSplit, OnDemandSplit
from xray_tl.errors import InputError
from xray_tl.runs import tuning
from xray_tl.runs.parts import Parts
from xray_tl.runs.run import run

Tiny = Callable[..., DictConfig]
SEARCH = (
    "tune=rates",
    "tune.rates=[[1e-6,1e-6],[1e-3,1e-2]]",
    "tune.seeds=[1000,1001]",
    "mode=frozen",
    "mode.head=trained",
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Note the rates and seeds that are tried."""
    seen: list[tuple[float, int]] = []
    original = tuning._try

    def noted(settings: Settings, pair: list[float], seed: int) -> float:
        seen.append((pair[1], seed))
        return original(settings, pair, seed)

    monkeypatch.setattr(tuning, "_try", noted)
    return seen


def test_an_arm_is_searched_once_and_its_runs_use_what_was_chosen(
    tiny: Tiny, tmp_path: Path, tries: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[float, int]] = []
    original = tuning.assemble

    def noted(settings: Settings, stage: str | None = None) -> Parts:
        built.append((settings.mode.head_lr, settings.seed))
        return original(settings, stage)

    monkeypatch.setattr(tuning, "assemble", noted)
    record = run(tiny(*SEARCH, "seed=0"), tmp_path / "0")
    assert built[:-1] == tries
    assert tries == [(1e-6, 1000), (1e-6, 1001), (1e-2, 1000), (1e-2, 1001)]
    found = record["tuning"]
    mean = [sum(row) / len(row) for row in found["val_auroc"]]
    assert found["chosen"] == found["rates"][mean.index(max(mean))]
    assert run(tiny(*SEARCH, "seed=1"), tmp_path / "1")["tuning"] == found
    assert len(tries) == 4, "the second seed of the arm searches no more"
    given = tiny(
        "mode=frozen",
        "mode.head=trained",
        f"mode.head_lr={found['chosen'][1]}",
        f"optim.lr={found['chosen'][0]}",
    )
    assert run(given, tmp_path / "given")["metrics"] == record["metrics"]
    run(tiny(*SEARCH, "seed=0", "data.train_seed=5"), tmp_path / "other")
    assert len(tries) == 8, "another training set is searched anew"


@pytest.mark.parametrize("feature_cache", ["auto", "off"])
def test_trials_never_see_a_test_image(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tries: list[tuple[float, int]],
    feature_cache: str,
) -> None:
    """And the run itself scores them once, after training."""
    rendered: list[str] = []
    images = XrayDataModule.images

    def looked_at(self: XrayDataModule, split: str) -> KeptSplit | OnDemandSplit:
        rendered.append(f"{split} after {len(tries)}")
        return images(self, split)

    monkeypatch.setattr(XrayDataModule, "images", looked_at)
    read: list[str] = []
    original = XrayDataModule.ordered_dataloader

    def noted(self: XrayDataModule, split: str) -> DataLoader[Batch]:
        read.append(f"{split} after {len(tries)}")
        return original(self, split)

    monkeypatch.setattr(XrayDataModule, "ordered_dataloader", noted)
    run(tiny(*SEARCH, f"feature_cache={feature_cache}"), tmp_path / "run")
    assert {entry for entry in rendered if entry.startswith("test")} <= {"test after 4"}
    assert [entry for entry in read if entry.startswith("test")] == ["test after 4"]
    assert read[-1] == "test after 4"


def test_rates_that_diverge_lose(tiny: Tiny, tmp_path: Path) -> None:
    rates = "tune.rates=[[1e30,1e30],[1e-3,1e-3]]"
    record = run(tiny("tune=rates", rates, "mode=finetune", "optim.clip_norm=null"), tmp_path / "run")
    assert record["tuning"]["chosen"] == [1e-3, 1e-3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("seed=1000",), r"seed=1000 is one of tune\.seeds=\[1000, 1001\]"),
        (("tune.seeds=[]",), r"tune\.rates needs tune\.seeds"),
        (("tune.rates=[[1e-3]]",), r"tune\.rates has \[0\.001\]: each is a pair of positive rates"),
        (("tune.rates=[[0,1e-3]]",), r"tune\.rates has \[0, 0\.001\]"),
    ],
)
def test_wrong_searches_are_refused(tiny: Tiny, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate(tiny("tune=rates", *overrides))
