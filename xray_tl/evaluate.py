"""Test a finished run again, on its own test split or on other data.

python -m xray_tl.evaluate run=DIR
python -m xray_tl.evaluate run=DIR data.acquisition.kerma=0.25
"""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from xray_tl.config import conf_dir, register_schemas
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.config.validation import require

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate one run and print the result."""
    with clean_exit():
        require(cfg)
        from xray_tl.runs.retest import evaluate

        overrides = [
            text for text in HydraConfig.get().overrides.task if text.split("=")[0] not in ("run", "name")
        ]
        print(evaluate(cfg, Path(cfg.run), overrides))


if __name__ == "__main__":
    main()
