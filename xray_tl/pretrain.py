"""Train a backbone on the source task, and keep its weights in the cache.

python -m xray_tl.pretrain model=resnet50
python -m xray_tl.pretrain -m model=resnet50,vgg16 budget=small
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from xray_tl.config import conf_dir, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.validation import check_values

register_schemas()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="pretrain")
def main(cfg: DictConfig) -> None:
    """Print the path of a backbone's source weights; train them first if they are not in the cache."""
    with clean_exit("interrupted: the same command goes on with it"):
        from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig
        from xray_tl.errors import InputError
        from xray_tl.runs.source_weights import refuse, source_weights
        from xray_tl.training.device import set_threads
        from xray_tl.training.source_recipes import BUDGETS

        check_values(cfg)
        if cfg.budget not in BUDGETS:
            raise InputError(f"budget={cfg.budget} is not valid: choose one of {', '.join(BUDGETS)}")
        trainer = typed_node(cfg.trainer, TrainerConfig)
        set_threads(trainer)
        weights = WeightsConfig(source="source", budget=cfg.budget, seed=cfg.seed)
        model = typed_node(cfg.model, ModelConfig)
        # refuse: a temporary file would be lost
        print(source_weights(model, weights, trainer, cfg.image_size, refuse))


if __name__ == "__main__":
    main()
