"""A study of two tiny arms, in a folder of configurations of its own, for tests of sweeps as typed."""

from pathlib import Path

from tests.conftest import TINY

ARM = """# @package _global_
defaults:
  - override /model: timm
  - override /mode: {mode}
model:
  name: test_resnet
"""
STUDY = """# @package _global_
planned:
  how_much:
    - small_finetune - small_frozen
    - {contrast: small_finetune, on: train - test}
hydra:
  mode: MULTIRUN
  sweep:
    dir: out
  sweeper:
    params:
      arm: small_finetune,small_frozen
      seed: 0
"""
MINE = (
    *("--config-dir", "conf", "study=mine"),
    *(item for item in TINY if not item.startswith(("model=", "trainer.max_epochs"))),
    "trainer.max_epochs=1",
)
"""Options of the study, in the folder in which `conf` was written."""


def write_study(folder: Path) -> Path:
    """Write the study below `conf` in a folder; return the folder."""
    for mode in ("finetune", "frozen"):
        path = folder / "conf" / "arm" / f"small_{mode}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ARM.format(mode=mode))
    (folder / "conf" / "study").mkdir()
    (folder / "conf" / "study" / "mine.yaml").write_text(STUDY)
    return folder
