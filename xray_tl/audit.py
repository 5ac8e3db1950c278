"""Check a data set for faults before training, and draw a contact sheet of it.

python -m xray_tl.audit data=folder data.root=DIR
python -m xray_tl.audit data=csv data.root=DIR data.table=labels.csv
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

from xray_tl.config import RadiographDataConfig, conf_dir, data_schema, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import register_resolvers
from xray_tl.config.validation import require
from xray_tl.errors import InputError
from xray_tl.store.files import check_writable, write_text
from xray_tl.store.records import SPLIT

REPORT, SHEET = "audit.json", "sheet.png"

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="audit")
def main(cfg: DictConfig) -> None:
    """Audit one data set: print the findings, and write `audit.json`, `split.csv` and `sheet.png`."""
    with clean_exit():
        require(cfg)
        data = typed_node(cfg.data, data_schema(cfg.data))
        if not isinstance(data, RadiographDataConfig):
            raise InputError(
                "data=synthetic has nothing to audit: choose data=folder, csv, dicom or medmnist"
            )
        import torch

        from xray_tl.data.contact_sheet import collected, draw_sheet, write_sheet
        from xray_tl.data.datamodule import needed_parts
        from xray_tl.data.quality.faults import audit, format_audit
        from xray_tl.data.sources import open_data

        folder = Path(cfg.output)
        for name in (REPORT, SPLIT, SHEET):
            check_writable(folder / name, "output")
        everything = replace(data, on_leak="warn", on_error="skip")  # report all faults, stop at none
        needed = needed_parts("test" if data.test_fraction >= 1 else None)
        opened = open_data(everything, torch.device("cpu"), needed)
        assert opened.collection is not None
        found = audit(opened.collection)
        write_text(folder / REPORT, json.dumps([finding.as_dict() for finding in found], indent=1))
        write_text(folder / SPLIT, opened.collection.split_table().to_csv(index=False))
        parts = collected(opened.collection.source(None), opened.targets, 12)
        write_sheet(draw_sheet(parts, 2, 6), folder / SHEET)
        print(f"{format_audit(found)}\n{folder}")
        stops = opened.collection.skipped and data.on_error == "stop"  # a run would stop, too
        if stops or any(finding.serious for finding in found):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
