"""How the runs of a sweep stand, by its folder alone: done, running, waiting, failed; since when, and why.

python -m xray_tl.status dir=outputs/study/quick
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.config import conf_dir, register_schemas
from xray_tl.config.cli import clean_exit
from xray_tl.config.validation import require

register_schemas()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="status")
def main(cfg: DictConfig) -> None:
    """Print a table of a sweep's runs, and a count."""
    with clean_exit():
        require(cfg)
        from xray_tl.sweeps.standings import counted, standings, table

        runs = standings(Path(cfg.dir))
        print(f"{table(runs)}\n\n{counted(runs.values())}")


if __name__ == "__main__":
    main()
