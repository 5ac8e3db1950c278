"""File systems: whether a folder lies on a disk of this machine alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

LOCAL = re.compile(
    "ext[234]|xfs|btrfs|zfs|bcachefs|f2fs|jfs|reiserfs|tmpfs|ramfs|rootfs|overlay|aufs|squashfs|vfat|exfat|ntfs3?"
    "|fuseblk|fuse[.](fuse-overlayfs|squashfuse|ntfs-3g)"
)
"""Types of file systems of disks that no other machine has: any other may be shared."""


@cache
def is_local(folder: Path) -> bool:
    """Tell whether a folder lies on a local disk; where the system has no list of mounts, it is taken to.

    NFS, Lustre, BeeGFS, GPFS, CephFS, and what a FUSE program serves, are not local.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return True
    place, found, kind = folder.resolve(), Path(), ""
    for line in lines:  # proc(5): id, parent, device, root, mount point, options, ..., "-", type, source
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= len(found.parts):  # the last one hides others
            found, kind = point, after.split()[0]
    return LOCAL.fullmatch(kind) is not None
