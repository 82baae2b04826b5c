"""
The base images of the lab: Debian with systemd and sshd, made by mmdebstrap from the machine's own apt sources.

An image's tag carries a hash of its recipe, so it is made once and again only when the recipe changes. Nothing that
must differ from machine to machine (host keys, machine-id) is in it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.lab import guest
from khw.lab.command import run
from khw.lab.layout import exclusively

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPOSITORY = "localhost/khw-lab"
DEFAULT = "debian-12"
RELEASES = {"debian-12": "bookworm", "debian-13": "trixie"}
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "socat",
    "ipset",
    "kmod",
    "procps",
    "ca-certificates",
    "python3",
    "zstd",
    "curl",
    "iputils-ping",
]
BARE = "bare-"  # before an image's name: for machines of one's own (khw.lab.bare)
BARE_PACKAGES = ("haproxy", "keepalived")  # on no machine; on each machine's own mirror, since nothing leads out
MIRROR = "/srv/mirror"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KEPT_OPTIONS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries")
BUILD_TIMEOUT = 1200

# Settings of the whole kernel (pid_max, protected links) are the host's to make, not a machine's.
HOOKS = (
    'chroot "$1" groupadd --system google-sudoers',
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/usr/lib/sysctl.d/*.conf "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    ': >"$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id" "$1/etc/hostname"',
)
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is in an image."""

    name: str
    release: str
    packages: tuple[str, ...] = tuple(PACKAGES)
    hooks: tuple[str, ...] = HOOKS
    left_out: tuple[str, ...] = LEFT_OUT
    overlay: bytes = b""

    @property
    def reference(self) -> str:
        """The image's name and tag, with the hash of the recipe."""
        text = json.dumps([self.release, self.packages, self.hooks, self.left_out])
        digest = hashlib.sha256(text.encode() + self.overlay).hexdigest()
        return f"{REPOSITORY}:{self.name}-{digest[:12]}"


def recipe(name: str) -> Recipe:
    """Return the recipe of an image by its Compute Engine name; LabError says which there are."""
    release = RELEASES.get(name.removeprefix(BARE))
    if release is None:
        msg = f"the lab has no image {name!r}"
        raise LabError(msg, hint="it has " + ", ".join(RELEASES))
    plain = Recipe(name, release, overlay=guest.overlay())
    if not name.startswith(BARE):
        return plain
    return replace(plain, hooks=(mirror_hook(f"file:{MIRROR}"), *plain.hooks))


def mirror_hook(uri: str, packages: Sequence[str] = BARE_PACKAGES) -> str:
    """
    Return a hook that puts packages, with all that they need beyond the image, into the image's MIRROR.

    The image's machines look for packages at `uri` and nowhere else. No package is installed.
    """
    return f"""chroot "$1" sh -euc '{_FETCH.format(mirror=MIRROR, packages=" ".join(packages), uri=uri)}'"""


_FETCH = """\
mkdir -p {mirror}/partial
cd {mirror}
apt-get install -qq --download-only --no-install-recommends --option=Dir::Cache::archives={mirror} {packages}
rm -r partial lock
for deb in *.deb; do
    dpkg-deb --field "$deb"
    size=$(stat --format=%s "$deb") digest=$(sha256sum "$deb")
    printf "Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n" "$deb" "$size" "${{digest%% *}}"
done >Packages
rm -f /etc/apt/sources.list.d/*
echo "deb [trusted=yes] {uri} ./" >/etc/apt/sources.list
"""


def ensure(name: str = DEFAULT, progress: Callable[[str], None] = lambda _: None) -> str:
    """Return the reference of an image, which is made first if it is not there (about half a minute)."""
    wanted = recipe(name)
    with exclusively(f"image-{name}"):
        if not _exists(wanted.reference):
            progress(f"making the image {name} ({wanted.release}), once")
            _build(wanted)
            _remove_older(wanted)
    return wanted.reference


def _exists(reference: str) -> bool:
    return bool(run(["podman", "images", "--quiet", reference]).strip())


def sources(release: str, machine_sources: Sequence[str]) -> tuple[str, ...]:
    """
    Return apt lines for a release, from the mirrors that this machine uses; none where it has none of Debian's.

    `machine_sources` are lines "URI RELEASE ORIGIN" of its index files; another distribution's are of no use. Without
    lines mmdebstrap takes its own default mirror.
    """
    rows = [line.split() for line in machine_sources]
    debian = [row[0].rstrip("/") for row in rows if len(row) == 3 and row[2].startswith("Debian")]
    main = next((uri for uri in debian if "security" not in uri), None)
    security = next((uri for uri in debian if "security" in uri), None)
    signed = f"deb [signed-by={KEYRING}]"
    return (
        *([f"{signed} {main} {release} main", f"{signed} {main} {release}-updates main"] if main else []),
        *([f"{signed} {security} {release}-security main"] if main and security else []),
    )


def _machine_sources() -> list[str]:
    return run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)"]).splitlines()


def _apt_options() -> list[str]:
    """Return the machine's own proxy and verification settings."""
    lines = run(["apt-config", "dump"]).splitlines()
    return [line for line in lines if line.startswith(KEPT_OPTIONS) and '"";' not in line]


def build_command(wanted: Recipe, lines: Sequence[str], options: Sequence[str], overlay: Path) -> list[str]:
    """Return the mmdebstrap command that writes the image's tar to stdout."""
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--quiet",
        f"--include={','.join(wanted.packages)}",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in wanted.left_out),
        *(f"--customize-hook={hook}" for hook in wanted.hooks),
        f"--customize-hook=tar-in {overlay} /",
        wanted.release,
        "-",
        *lines,
    ]


def command_here(wanted: Recipe, scratch: Path) -> list[str]:
    """Return the mmdebstrap command as this machine is to run it: its mirrors, its proxy; `scratch` is a directory."""
    if not KEYRING.exists():
        msg = f"{KEYRING} is missing, so Debian's packages cannot be checked"
        raise LabError(msg, hint="apt-get install debian-archive-keyring")
    overlay = scratch / "overlay.tar"
    overlay.write_bytes(wanted.overlay)
    return build_command(wanted, sources(wanted.release, _machine_sources()), _apt_options(), overlay)


def _build(wanted: Recipe) -> None:
    with tempfile.TemporaryDirectory(prefix="khw-image-") as scratch, tempfile.TemporaryFile() as said:
        with subprocess.Popen(command_here(wanted, Path(scratch)), stdout=subprocess.PIPE, stderr=said) as making:
            change = ["--change", 'CMD ["/sbin/init"]', "--change", "STOPSIGNAL SIGRTMIN+3"]
            taking = subprocess.run(
                ["podman", "import", "--quiet", *change, "-", f"{wanted.reference}-unchecked"],
                stdin=making.stdout,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=BUILD_TIMEOUT,
                check=False,
            )
        failed = making.returncode or taking.returncode
        if failed:
            run(["podman", "rmi", "--force", f"{wanted.reference}-unchecked"], allow_failure=True)
            said.seek(0)
            text = said.read().decode(errors="replace").strip()[-1500:]
            msg = f"the image {wanted.name} cannot be made: {text}"
            raise LabError(msg, hint="the lab needs the machine's apt mirror to answer: apt-get update")
    # Only now does it get its name: an image cut short never passes for a whole one.
    run(["podman", "tag", f"{wanted.reference}-unchecked", wanted.reference])
    run(["podman", "untag", wanted.reference, f"{wanted.reference}-unchecked"])


def _remove_older(wanted: Recipe) -> None:
    """Remove images of earlier recipes, but none of today (another version of khw may be at work) and none in use."""
    old = ["--filter", "until=24h", "--filter", f"reference={REPOSITORY}"]
    known = run(["podman", "images", *old, "--format", "{{.Repository}}:{{.Tag}}"]).split()
    for reference in known:
        if reference.startswith(f"{REPOSITORY}:{wanted.name}-") and reference != wanted.reference:
            run(["podman", "rmi", reference], allow_failure=True)
