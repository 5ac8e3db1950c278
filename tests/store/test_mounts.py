"""Whether a folder lies on a disk of this machine alone, by the list of mounts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from xray_tl.store import mounts
from xray_tl.store.mounts import is_local

LINES = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw shared:5 - proc proc rw
24 22 0:30 / /home rw - autofs auto.home rw
25 24 0:31 /export/ada /home/ada rw master:1 - nfs4 server:/export/ada rw,vers=4.2
26 22 0:32 / /scratch rw - lustre 10.0.0.1@o2ib:/scratch rw
27 26 8:1 / /scratch/local rw - xfs /dev/nvme0n1 rw
28 22 0:33 / /mnt/two\040words rw - fuse.sshfs host:/ rw
29 22 0:34 / /gpfs rw - gpfs gpfs0 rw
30 22 0:35 / /beegfs rw - beegfs beegfs_nodev rw
31 22 0:36 / /ceph rw - ceph mon:/ rw
32 22 0:37 / /drive rw - fuse.drive drive rw
33 22 0:38 / /images rw - fuse.fuse-overlayfs fuse-overlayfs rw
34 22 0:39 / /over rw - xfs /dev/sdb rw
35 22 0:40 / /over rw - cifs //server/share rw
36 22 0:41 / /new rw - newfs new rw
"""


@pytest.fixture(autouse=True)
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mountinfo").write_text(LINES.lstrip())
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    is_local.cache_clear()
    yield
    is_local.cache_clear()


@pytest.mark.parametrize(
    ("folder", "local"),
    [
        ("/", True),
        ("/var/cache", True),
        ("/homework", True),
        ("/home/ada/.cache/xray_tl", False),
        ("/scratch/ada", False),
        ("/scratch/local/ada", True),
        ("/mnt/two words/x", False),
        ("/gpfs/x", False),
        ("/beegfs/x", False),
        ("/ceph/x", False),
        ("/drive/x", False),
        ("/images/x", True),
        ("/over/x", False),
        ("/new/x", False),
    ],
)
def test_what_another_machine_may_have_is_not_local(folder: str, local: bool) -> None:
    assert is_local(Path(folder)) is local


def test_a_link_leads_to_another_disk(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/scratch/ada")
    assert not is_local(link / "cache")


def test_a_system_without_a_list_of_mounts_has_local_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", Path("/nowhere/mountinfo"))
    assert is_local(Path("/scratch"))
