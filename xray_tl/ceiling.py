"""Compute the best possible result on a kind of image, without a model or training.

python -m xray_tl.ceiling data.finding=nodule data.image_size=224
python -m xray_tl.ceiling -m difficulty=easy,medium,hard data.finding=nodule,opacity
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from xray_tl.config import SyntheticDataConfig, conf_dir, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.errors import InputError

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="ceiling")
def main(cfg: DictConfig) -> None:
    """Print the best possible metrics on one data set's test images, one per line, with standard errors."""
    with clean_exit():
        from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
        from xray_tl.observers.difficulty import resolve_difficulty
        from xray_tl.observers.ideal_scores import ideal_logit
        from xray_tl.statistics.bounds import bounds, format_bounds
        from xray_tl.store.allocator import keep_large_blocks

        if cfg.images < 2:
            raise InputError(f"images={cfg.images} is not valid: choose at least 2")
        if cfg.data.name != "synthetic":
            raise InputError(f"data={cfg.data.name}: the best possible result is not known for this data")
        keep_large_blocks()
        data = resolve_difficulty(typed_node(cfg.data, SyntheticDataConfig))
        source = SyntheticRadiographs.open(data, "test")
        known = "attenuation" if data.contrast == "physical" else "d0"
        value = source.finding.attenuation if data.contrast == "physical" else source.finding.d0
        print(
            f"{data.finding}, {data.image_size} px, {data.contrast} contrast, {known} {value:.4g}, "
            f"difficulty {data.difficulty}, shift {data.shift}: {cfg.images} images"
        )
        print(format_bounds(bounds(ideal_logit(source, cfg.images))))


if __name__ == "__main__":
    main()
