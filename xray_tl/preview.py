"""Contact sheet of what a model would see, as a PNG.

python -m xray_tl.preview
python -m xray_tl.preview data=folder data.root=DIR split=test
python -m xray_tl.preview data.finding=nodule outlines=true rows=1 columns=4 output=nodules.png
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.cli import clean_exit
from xray_tl.config import RadiographDataConfig, conf_dir, data_schema, register_schemas, typed_node
from xray_tl.errors import InputError
from xray_tl.identity import register_resolvers
from xray_tl.validation import require

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="preview")
def main(cfg: DictConfig) -> None:
    """Draw one sheet and print its path."""
    with clean_exit():
        from xray_tl.data.allocator import keep_large_blocks
        from xray_tl.data.contact_sheet import check_sheet, collected, draw_sheet, generated, write_sheet
        from xray_tl.data.synthetic import SyntheticRadiographs
        from xray_tl.observers.difficulty import resolve_difficulty

        keep_large_blocks()
        require(cfg)
        check_sheet(cfg.rows, cfg.columns)
        data, count = typed_node(cfg.data, data_schema(cfg.data)), cfg.rows * cfg.columns
        if isinstance(data, RadiographDataConfig):
            import torch

            from xray_tl.data.sources import open_data

            opened = open_data(data, torch.device("cpu"))
            if cfg.split not in opened.sources:
                raise InputError(f"split={cfg.split} is unknown: choose from {', '.join(opened.sources)}")
            halves = collected(opened.sources[cfg.split], opened.targets, count)
        else:
            source = SyntheticRadiographs.open(resolve_difficulty(data), cfg.split)
            halves = generated(source, count, outlines=cfg.outlines)
        print(write_sheet(draw_sheet(halves, cfg.rows, cfg.columns), Path(cfg.output)))


if __name__ == "__main__":
    main()
