"""Draw a contact sheet of images as a model sees them, and write it as a PNG file.

python -m xray_tl.preview
python -m xray_tl.preview data=folder data.root=DIR split=test
python -m xray_tl.preview input=FILE_OR_FOLDER
python -m xray_tl.preview data.finding=nodule outlines=true rows=1 columns=4 output=nodules.png
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from xray_tl.config import RadiographDataConfig, conf_dir, data_schema, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.config.validation import require
from xray_tl.errors import InputError
from xray_tl.store.files import check_writable

if TYPE_CHECKING:
    from xray_tl.data.contact_sheet import Part

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="preview")
def main(cfg: DictConfig) -> None:
    """Draw one contact sheet and print its path."""
    with clean_exit():
        from xray_tl.data.contact_sheet import check_sheet, draw_sheet, write_sheet
        from xray_tl.store.allocator import keep_large_blocks

        keep_large_blocks()
        if cfg.input is not None:
            for key in cfg.data:
                if OmegaConf.is_missing(cfg.data, key):
                    cfg.data[key] = cfg.input  # a mandatory path, from which nothing is read
        require(cfg)
        check_sheet(cfg.rows, cfg.columns)
        check_writable(Path(cfg.output), "output")
        print(write_sheet(draw_sheet(_parts(cfg), cfg.rows, cfg.columns), Path(cfg.output)))


def _parts(cfg: DictConfig) -> list[Part]:
    """Return the images to show: from files, or from a split of a data set."""
    import torch

    from xray_tl.data.contact_sheet import collected, generated, read
    from xray_tl.data.films.film_options import validate_radiographs
    from xray_tl.data.films.listing import list_input
    from xray_tl.data.films.reading import reading_of
    from xray_tl.data.sources import open_data
    from xray_tl.data.synthetic.generator_options import validate
    from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
    from xray_tl.observers.difficulty import resolve_difficulty

    data, count = typed_node(cfg.data, data_schema(cfg.data)), cfg.rows * cfg.columns
    if cfg.input is not None:
        if isinstance(data, RadiographDataConfig):
            validate_radiographs(data)
        else:
            validate(data)
        return read(list_input(Path(cfg.input)), reading_of(data), count)
    if not isinstance(data, RadiographDataConfig):
        source = SyntheticRadiographs.open(resolve_difficulty(data), cfg.split)
        return generated(source, count, outlines=cfg.outlines)
    opened = open_data(data, torch.device("cpu"))
    if cfg.split not in opened.sources:
        raise InputError(f"split={cfg.split} is unknown: choose from {', '.join(opened.sources)}")
    return collected(opened.sources[cfg.split], opened.targets, count)


if __name__ == "__main__":
    main()
