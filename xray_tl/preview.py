"""Contact sheet of what a model would see, as a PNG.

python -m xray_tl.preview
python -m xray_tl.preview data.finding=nodule outlines=true rows=1 columns=4 output=nodules.png
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.cli import clean_exit
from xray_tl.config import SyntheticDataConfig, conf_dir, register_schemas, typed_node
from xray_tl.identity import register_resolvers

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="preview")
def main(cfg: DictConfig) -> None:
    """Draw one sheet and print its path."""
    with clean_exit():
        from xray_tl.data.allocator import keep_large_blocks
        from xray_tl.data.contact_sheet import draw_sheet, write_sheet
        from xray_tl.data.synthetic import SyntheticRadiographs
        from xray_tl.observers.difficulty import resolve_difficulty

        keep_large_blocks()
        data = typed_node(cfg.data, SyntheticDataConfig)
        source = SyntheticRadiographs.open(resolve_difficulty(data), cfg.split)
        sheet = draw_sheet(source, cfg.rows, cfg.columns, outlines=cfg.outlines)
        print(write_sheet(sheet, Path(cfg.output)))


if __name__ == "__main__":
    main()
