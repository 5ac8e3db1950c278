"""Decoding a folder of 16-bit PNG files against a plain Pillow loop, and a table of many rows.

    python benchmarks/decoding.py --files 1000 --size 1024
    python benchmarks/decoding.py --rows 1000000

Files: a worker's decoding, and opening all of them with an empty cache and from the cache; the first two also
as a share of the rate of a loop that opens, converts and resizes each file. Rows: seconds and peak memory of
listing and splitting a table. Quiet the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.decoded import open_films
from xray_tl.data.films.label_table import list_table
from xray_tl.data.films.partition import groups_of, partition
from xray_tl.data.films.reading import Reading, try_reading

READING = Reading(224, "pad", "range")


def write(folder: Path, files: int, size: int) -> list[str]:
    """Write smooth films with noise, 16 bits deep."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0.2, 0.8, size)
    paths = []
    for index in range(files):
        film = ramp[:, None] * ramp + generator.normal(0, 0.01, (size, size))
        path = folder / f"{index:05d}.png"
        Image.fromarray((film.clip(0, 1) * 65535).astype(np.uint16)).save(path)
        paths.append(str(path))
    return paths


def plain(paths: list[str]) -> float:
    """Read the files as one would without a library; return the seconds."""
    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            grey = np.asarray(image, dtype=np.float32) / 65535
        np.asarray(Image.fromarray(grey).resize((224, 224), Image.Resampling.BILINEAR))
    return time.perf_counter() - start


def decode(files: int, size: int, pairs: int) -> None:
    """Time decoding in pairs with the plain loop."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        paths = write(Path(place), files, size)
        for pair in range(pairs):
            os.environ["XRAY_TL_CACHE"] = f"{place}/cache{pair}"
            loop = plain(paths)
            start = time.perf_counter()
            for path in paths:
                try_reading(path, READING)
            alone = time.perf_counter() - start
            start = time.perf_counter()
            open_films(paths, READING, cores, 4.0)
            first = time.perf_counter() - start
            start = time.perf_counter()
            open_films(paths, READING, cores, 4.0)
            second = time.perf_counter() - start
            print(
                f"{files} files of {size} px: loop {loop:.1f} s, a worker's decoding {alone:.1f} s (rate "
                f"{loop / alone:.2f} of the loop's); all of it by {cores} workers, with hashes and cache, "
                f"{first:.1f} s ({loop / first / cores:.2f} a worker), from the cache {second:.2f} s",
                flush=True,
            )


def rows(count: int) -> None:
    """Time listing and splitting a table of many rows."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        names = [f"{index:07d}.png" for index in range(count)]
        (root / "0000000.png").touch()
        label = np.where(np.arange(count) % 7, "No Finding", "Effusion")
        table = pd.DataFrame({"path": names, "label": label, "patient": np.arange(count) // 4})
        table.to_csv(root / "labels.csv", index=False)
        config = RadiographDataConfig(
            name="csv", layout="table", root=place, table="labels.csv", patient_column="patient"
        )
        start = time.perf_counter()
        listing = list_table(config)
        listed = time.perf_counter() - start
        contents = np.arange(4 * count).reshape(count, 4)
        groups = groups_of(listing.table["patient"].tolist(), contents)
        partition(listing.truth, groups, [""] * count, (0.15, 0.2), (0, 0))
        split = time.perf_counter() - start - listed
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{count} rows: listed in {listed:.1f} s, split in {split:.1f} s, peak {peak:.2f} GB")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in {"files": 0, "size": 1024, "pairs": 3, "rows": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    print(f"load average before {os.getloadavg()[0]:.2f}")
    if options.files:
        decode(options.files, options.size, options.pairs)
    if options.rows:
        rows(options.rows)


if __name__ == "__main__":
    main()
