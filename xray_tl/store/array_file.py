"""Files of arrays in the safetensors format, with a hash of their content: mapped into memory, or copied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from xray_tl.store.files import atomic_path

Arrays = dict[str, NDArray[Any]]

_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "?"}
"""safetensors' names of the data types that are stored."""


def read_arrays(path: Path, *, mapped: bool) -> tuple[Arrays, str | None]:
    """Return the arrays of a file, and the hash of them that it states; they are not compared.

    The file has the length of its header (8 bytes), the header (JSON), and the arrays.

    Args:
        path: The file.
        mapped: Map it into memory: processes that read the same file share its memory pages, and changes to
            an array stay in their process. Else it is copied.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file; so do KeyError and TypeError.
    """
    content = np.memmap(path, np.uint8, mode="c") if mapped else np.fromfile(path, np.uint8)
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(content[8:start].tobytes())
    stated = header.pop("__metadata__", {}).get("sha256")
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        part = content[start + first : start + last]
        arrays[name] = part.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, stated


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays and their hash atomically.

    Raises:
        RunError: No space is left on the device.
    """
    with atomic_path(path) as partial:
        save_file(arrays, partial, metadata={"sha256": sha256(arrays)})


def sha256(arrays: Arrays) -> str:
    """Return the hash of arrays: of their names, types, shapes and content."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
