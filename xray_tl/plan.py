"""Say what a study takes before it starts: readers, images and minutes for each planned question.

python -m xray_tl.plan study=quick dir=outputs/study/quick
python -m xray_tl.plan study=quick dir=outputs/study/quick effect=0.01
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from xray_tl.config import conf_dir, register_schemas
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.config.planned import declared
from xray_tl.config.rungs import RUNGS, rungs_of
from xray_tl.config.validation import check_values
from xray_tl.errors import InputError
from xray_tl.store.files import check_writable, write_text

SIZES, CHANCES, MAP = "sizes.csv", "chances.csv", "map"
PILOT = 5
"""Seeds of the pilot that is asked for."""
COMPARED = ("data", "trainer.max_epochs")
"""Options of a study, or groups of them, in which an earlier sweep should agree with it."""
OWN = (
    "data.n_test",
    "data.seed",
    "data.train_seed",
    "data.num_workers",
    "data.memory_limit_gb",
    "data.shift",
)
"""Those in which it need not."""

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="plan")
def main(cfg: DictConfig) -> None:
    """Print one plan, and write its tables and its map."""
    with clean_exit():
        check_values(cfg)
        study = HydraConfig.get().runtime.choices.get("study")
        if study is None:
            known = GlobalHydra.instance().config_loader().get_group_options("study")
            raise InputError(f"study= is needed: choose from {', '.join(sorted(known))}")
        rungs, families = rungs_of(cfg) or RUNGS, declared(cfg)
        if not families:
            raise InputError(f"study={study} has no planned contrasts: declare its questions (planned)")
        if cfg.dir is None:
            seeds = ",".join(map(str, range(PILOT)))
            raise InputError(
                f"dir= is needed, an earlier sweep of these arms; a pilot of {PILOT} seeds would do: "
                f"python -m xray_tl.train study={study} seed={seeds}"
            )
        folder, output = Path(cfg.dir), Path(cfg.output)
        if not folder.is_dir():
            raise InputError(f"dir={folder} is not a folder: give that of an earlier sweep")
        check_writable(output / SIZES, "output")
        from xray_tl.report.plan_map import draw_map
        from xray_tl.report.plan_text import chances_table, format_plan, sizes_table
        from xray_tl.report.style import write_figure
        from xray_tl.study.pilot import pilot
        from xray_tl.study.sizing import course, sizes

        earlier = pilot(folder, families, _compared(cfg))
        images = OmegaConf.select(cfg, "data.n_test", default=None) or earlier.images
        rows = sizes(earlier, images, cfg.effect, cfg.margin)
        found = course(earlier, images, rungs, cfg.margin)
        write_text(output / SIZES, sizes_table(rows, cfg.effect, earlier.reader).to_csv(index=False))
        write_text(output / CHANCES, chances_table(found).to_csv(index=False))
        write_figure(draw_map(earlier, images, cfg.effect, cfg.margin), output, MAP)
        size = (study, images, cfg.effect, cfg.margin)
        print(f"{format_plan(earlier, rows, found, size, rungs)}\n{output}")


def _compared(cfg: DictConfig) -> dict[str, Any]:
    """Return the options of a study in which an earlier sweep should agree with it."""
    found: dict[str, Any] = {}
    for option in COMPARED:
        value = OmegaConf.select(cfg, option)
        if OmegaConf.is_dict(value):
            found |= {f"{option}.{key}": item for key, item in value.items() if not OmegaConf.is_config(item)}
        else:
            found[option] = value
    return {key: value for key, value in found.items() if key not in OWN}


if __name__ == "__main__":
    main()
