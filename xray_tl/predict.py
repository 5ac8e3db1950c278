"""Score radiographs with the model of a finished run.

python -m xray_tl.predict run=DIR input=FILE_OR_FOLDER
python -m xray_tl.predict run=DIR input=FOLDER output=scores.csv
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.config import PredictConfig, conf_dir, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.config.validation import check_values
from xray_tl.errors import InputError
from xray_tl.store.files import check_writable, write_text

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="predict")
def main(cfg: DictConfig) -> None:
    """Score radiographs, and print the table, or write it and print its path."""
    with clean_exit():
        check_values(cfg)
        chosen = typed_node(cfg, PredictConfig)
        if chosen.output is not None and Path(chosen.output).suffix.lower() != ".csv":
            raise InputError(f"output={chosen.output} must end in .csv")
        from xray_tl.data.films.listing import list_input
        from xray_tl.runs.score_films import open_scorer, score
        from xray_tl.store.allocator import keep_large_blocks

        keep_large_blocks()
        paths = list_input(Path(chosen.input))
        if chosen.output is not None:
            check_writable(Path(chosen.output), "output")
        scorer = open_scorer(Path(chosen.run), chosen.trainer)
        table = score(scorer, paths, chosen.batch_size, chosen.num_workers)
        text = table.to_csv(index=False)
        if chosen.output is None:
            print(text, end="")
        else:
            write_text(Path(chosen.output), text)
            print(chosen.output)


if __name__ == "__main__":
    main()
