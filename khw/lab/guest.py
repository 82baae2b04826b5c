"""
What the lab adds to a plain Debian to make it a machine of Compute Engine: Google's guest agent, in a few lines.

The host mounts a directory at /etc/khw-lab. In it the machine finds its ssh-keys and its host file, and there it
publishes its host keys, as a guest writes guest attributes on Google.
"""

from __future__ import annotations

import io
import tarfile

MOUNT = "/etc/khw-lab"
GUEST = "/usr/lib/khw-lab/guest"
RESOLVER = "169.254.169.254"  # Google's metadata server is also the resolver of its machines

AGENT = r"""#!/bin/sh
# Host keys on first boot; users with their keys from metadata, now and whenever it changes.
set -eu
mount=/etc/khw-lab
known=/var/lib/khw-lab/users
mkdir -p "$mount/published" /var/lib/khw-lab

for kind in ed25519 ecdsa; do
    key=/etc/ssh/ssh_host_${kind}_key
    [ -s "$key" ] || ssh-keygen -q -N '' -t "$kind" -C '' -f "$key"
done

[ ! -s "$mount/hosts" ] || cat "$mount/hosts" >/etc/hosts
[ ! -s "$mount/resolv.conf" ] || cat "$mount/resolv.conf" >/etc/resolv.conf

touch "$known" "$mount/ssh-keys"
cut -d: -f1 "$mount/ssh-keys" | sort -u >"$known.now"
while read -r user; do
    id -u "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
    usermod --append --groups google-sudoers "$user"
    home=$(getent passwd "$user" | cut -d: -f6)
    install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
    sed -n "s/^$user://p" "$mount/ssh-keys" >"$home/.ssh/authorized_keys.new"
    chmod 600 "$home/.ssh/authorized_keys.new"
    chown "$user:" "$home/.ssh/authorized_keys.new"
    mv "$home/.ssh/authorized_keys.new" "$home/.ssh/authorized_keys"
done <"$known.now"
comm -23 "$known" "$known.now" | while read -r user; do
    home=$(getent passwd "$user" | cut -d: -f6) || continue
    rm -f "$home/.ssh/authorized_keys"
    gpasswd --delete "$user" google-sudoers >/dev/null 2>&1 || true
done
mv "$known.now" "$known"

for kind in ed25519 ecdsa; do
    cp "/etc/ssh/ssh_host_${kind}_key.pub" "$mount/published/$kind.new"
    mv "$mount/published/$kind.new" "$mount/published/$kind"
done
"""

UNIT = f"""[Unit]
Description=Host keys and users from the lab's metadata
After=systemd-sysusers.service systemd-tmpfiles-setup.service local-fs.target
Before=ssh.service sshd-keygen.service
ConditionPathIsDirectory={MOUNT}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={GUEST}

[Install]
WantedBy=multi-user.target
"""

JOURNALD = """[Journal]
Storage=persistent
SystemMaxUse=200M
ForwardToSyslog=no
ForwardToConsole=yes
MaxLevelConsole=notice
"""

SSHD = """UseDNS no
PasswordAuthentication no
PermitRootLogin no
MaxStartups 100:30:200
MaxSessions 100
"""

FILES: dict[str, tuple[int, str]] = {
    GUEST: (0o755, AGENT),
    "/etc/systemd/system/khw-lab-guest.service": (0o644, UNIT),
    "/etc/systemd/journald.conf.d/50-khw-lab.conf": (0o644, JOURNALD),
    "/etc/ssh/sshd_config.d/50-khw-lab.conf": (0o644, SSHD),
    "/etc/sudoers.d/google_sudoers": (0o440, "%google-sudoers ALL=(ALL:ALL) NOPASSWD:ALL\n"),
    "/etc/resolv.conf": (0o644, f"nameserver {RESOLVER}\n"),
    "/etc/sysctl.d/50-khw-lab.conf": (0o644, "net.ipv4.ping_group_range = 0 2147483647\n"),
    "/etc/default/locale": (0o644, "LANG=C.UTF-8\n"),
    "/etc/hosts": (0o644, "127.0.0.1 localhost\n"),
}

# Units that need hardware, a terminal or the host's kernel: they fail or take time in a machine of the lab.
MASKED = [
    "getty@tty1.service",
    "console-getty.service",
    "getty.target",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "systemd-remount-fs.service",
    "systemd-binfmt.service",  # it would take the host's own formats (qemu-user's, Wine's) out of the kernel
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    "modprobe@configfs.service",
    "modprobe@fuse.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@loop.service",
]


def overlay() -> bytes:
    """Return all that is added to the image, as a tar: the same bytes for the same recipe."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (mode, text) in FILES.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = mode, len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        wanted = "etc/systemd/system/multi-user.target.wants/khw-lab-guest.service"
        for path, target in (
            (wanted, "/etc/systemd/system/khw-lab-guest.service"),
            *((f"etc/systemd/system/{unit}", "/dev/null") for unit in MASKED),
        ):
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return buffer.getvalue()
