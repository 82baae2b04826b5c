"""The disks of virtual machines: a plain Debian, as people have it on machines of their own, and its kernel."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.lab import image, layout
from khw.lab.command import run
from khw.lab.image import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "ops"
PASSWORD = "asked-for-by-sudo"  # noqa: S105 - of machines that nobody but the tests reaches
HOME = layout.home().parent / "vms"
SIZE = "12G"  # of the disk; sparse
SEED = "/usr/lib/seed"

# Debian's installer sets up ifupdown, its cloud images networkd: 12 has the one here, 13 the other.
NETWORK = {"debian-12": ("ifupdown", "networking.service"), "debian-13": ("systemd", "systemd-networkd.service")}

# What each machine is, comes on a second disk: a tar that is unpacked over the root at the first boot.
_SEED = """\
#!/bin/sh
set -eu
tar --extract --file=/dev/vdb --directory=/ --no-overwrite-dir
hostname --file /etc/hostname
"""
_SEED_UNIT = f"""\
[Unit]
Description=What this machine is, from its second disk
DefaultDependencies=no
ConditionPathExists=!/etc/hostname
Wants=dev-vdb.device network-pre.target
After=dev-vdb.device local-fs.target
Before=sysinit.target network-pre.target systemd-sysctl.service nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SEED}
"""
_MIRROR_UNIT = f"""\
[Unit]
Description=A package mirror for the machines behind the bastion
ConditionHost=bastion
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/bin/python3 -m http.server --directory {image.MIRROR} 80
"""
_FILES: Mapping[str, tuple[int, str]] = {
    SEED: (0o755, _SEED),
    "/etc/systemd/system/seed.service": (0o644, _SEED_UNIT),
    "/etc/default/locale": (0o644, "LANG=C.UTF-8\n"),
    "/etc/fstab": (0o644, "/dev/vda / ext4 defaults 0 1\n"),
    "/etc/systemd/system/sysinit.target.wants/seed.service": (0, "/etc/systemd/system/seed.service"),
    "/etc/systemd/system/mirror.service": (0o644, _MIRROR_UNIT),
    "/etc/systemd/system/multi-user.target.wants/mirror.service": (0, "/etc/systemd/system/mirror.service"),
}


@dataclass(frozen=True)
class Disk:
    """An image: a root file system that nobody writes to, its kernel and its initrd."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.img"


def recipe(name: str, architecture: str = "amd64") -> Recipe:
    """Return what is in the image of a release (debian-12): the lab's packages, a kernel, nothing of the lab's own."""
    network, unit = NETWORK[name]
    hooks = (
        image.mirror_hook("file:/nowhere"),  # where it is, a machine's seed says
        f'chroot "$1" useradd --create-home --shell /bin/bash --groups sudo {USER}',
        f"""printf '%s' '{USER}:{PASSWORD}' | chroot "$1" chpasswd""",
        f'chroot "$1" systemctl enable nftables.service {unit}',
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/hostname',
        ': >"$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id"',
    )
    return Recipe(
        name=f"vm-{name}-{architecture}",
        release=image.RELEASES[name],
        packages=(
            *image.PACKAGES,
            f"linux-image-cloud-{architecture}",
            "initramfs-tools",
            "udev",
            network,
        ),
        hooks=hooks,
        overlay=archive(_FILES),
    )


def ensure(name: str, architecture: str = "amd64") -> Disk:
    """Return the image of a release, which is made first if it is not there (a minute or two; more if emulated)."""
    wanted = recipe(name, architecture)
    home = HOME / "images"
    disk = Disk(home / wanted.reference.rpartition(":")[2])
    with layout.exclusively(f"image-{wanted.name}"):
        if not disk.directory.exists():
            home.mkdir(parents=True, exist_ok=True)
            for older in home.glob(f"{wanted.name}-*"):
                shutil.rmtree(older)
            with tempfile.TemporaryDirectory(dir=home, prefix="making-") as scratch:
                _make(wanted, architecture, Path(scratch))
                (Path(scratch) / "disk").rename(disk.directory)
    return disk


def _make(wanted: Recipe, architecture: str, scratch: Path) -> None:
    tree, made = scratch / "tree", Disk(scratch / "disk")
    tree.mkdir()
    made.directory.mkdir()
    mmdebstrap, *options = image.command_here(wanted, scratch)
    command = [mmdebstrap, f"--architectures={architecture}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as making:
        unpacked = subprocess.run(
            ["tar", "--extract", "--numeric-owner", f"--directory={tree}"],
            stdin=making.stdout,
            timeout=image.BUILD_TIMEOUT,
            check=False,
        )
    assert (making.returncode, unpacked.returncode) == (0, 0), f"the image {wanted.name} cannot be made: see above"
    shutil.copy(tree / "vmlinuz", made.kernel)
    shutil.copy(tree / "initrd.img", made.initrd)
    run(["mkfs.ext4", "-q", "-d", str(tree), str(made.root), SIZE], timeout=600)


def archive(files: Mapping[str, tuple[int, str]]) -> bytes:
    """Return files by path as a tar: mode and text of each, or 0 and where a link leads. The same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (mode, text) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            if mode:
                entry.mode, entry.size = mode, len(text.encode())
            else:
                entry.type, entry.linkname = tarfile.SYMTYPE, text
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
