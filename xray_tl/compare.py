"""Test whether differences are real, by a multi-reader multi-case analysis of any long table of scores.

python -m xray_tl.compare scores=FILE.csv
python -m xray_tl.compare scores=FILE.csv format=json
python -m xray_tl.compare scores=FILE.csv planned=QUESTIONS.yaml
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import hydra
from omegaconf import DictConfig

from xray_tl.config import CompareConfig, conf_dir, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.validation import check_values, require

if TYPE_CHECKING:
    from xray_tl.statistics.mrmc import Sampling

register_schemas()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="compare")
def main(cfg: DictConfig) -> None:
    """Analyse one table of scores and print the result."""
    with clean_exit():
        require(cfg)
        check_values(cfg)
        from xray_tl.statistics.comparison import compare, metric_named, read_scores
        from xray_tl.statistics.comparison_text import format_comparison
        from xray_tl.statistics.wording import Terms
        from xray_tl.study.planned_file import planned_contrasts

        asked = typed_node(cfg, CompareConfig)
        metric = metric_named(asked.metric)
        readings = read_scores(Path(asked.scores))
        readers, cases = (cast("Sampling", kind) for kind in (asked.readers, asked.cases))
        families = planned_contrasts(asked.planned, readings.treatments)
        done = compare(readings, metric, readers, cases, asked.margin, asked.level, families)
        if asked.format == "json":
            print(json.dumps(done.as_json(), indent=1, allow_nan=False))
        else:
            name = "AUROC" if metric.name == "auroc" else metric.name
            terms = Terms(
                readings.drawn, metric=name, level=asked.level, higher_is_better=metric.higher_is_better
            )
            print(format_comparison(done, terms))


if __name__ == "__main__":
    main()
