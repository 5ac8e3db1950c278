"""Make source weights and keep them in the cache.

python -m xray_tl.pretrain model=resnet50
python -m xray_tl.pretrain -m model=resnet50,vgg16 budget=small
"""

from __future__ import annotations

from typing import cast

import hydra
from omegaconf import DictConfig, OmegaConf

from xray_tl.cli import clean_exit
from xray_tl.config import PretrainConfig, conf_dir, register_schemas
from xray_tl.validation import require

register_schemas()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="pretrain")
def main(cfg: DictConfig) -> None:
    """Print the path of a backbone's source weights, made first where the cache does not hold them."""
    with clean_exit("interrupted: the same command goes on with it"):
        from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig
        from xray_tl.training.device import set_threads
        from xray_tl.training.source_weights import source_weights

        require(cfg)
        chosen = cast(PretrainConfig, OmegaConf.to_object(cfg))
        trainer = cast(TrainerConfig, chosen.trainer)
        set_threads(trainer)
        weights = WeightsConfig(source="source", budget=chosen.budget, seed=chosen.seed)
        print(source_weights(cast(ModelConfig, chosen.model), weights, trainer))


if __name__ == "__main__":
    main()
