"""The report of a sweep, made again from its records and predictions alone.

python -m xray_tl.report dir=outputs/study/quick
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.config import conf_dir, register_schemas
from xray_tl.config.cli import clean_exit
from xray_tl.config.validation import check_values, require
from xray_tl.errors import InputError
from xray_tl.store.files import check_writable

register_schemas()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="report")
def main(cfg: DictConfig) -> None:
    """Write one report and print its path."""
    with clean_exit():
        require(cfg)
        check_values(cfg)
        folder = Path(cfg.dir)
        if not folder.is_dir():
            raise InputError(f"dir={folder} is not a folder: give that of a sweep")
        from xray_tl.report.page import REPORT, write_report

        check_writable(folder / REPORT, "dir")
        print(write_report(folder, cfg.margin))


if __name__ == "__main__":
    main()
