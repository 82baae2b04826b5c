"""Writing files on the operator's side so that nothing is ever half-written, and no key readable by others."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from khw.errors import DiskError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def disk_full(error: BaseException) -> DiskError | None:
    """Return the error that names this machine's disk, if that is what an error of the system is about."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return DiskError(
        f"this machine's disk takes nothing more: {where}{error.strerror}",
        hint="make room (`df -h`: khw writes beside the cluster file, and to its cache), then run khw again: "
        "it takes up where it was",
    )


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` beside `path` and rename it into place; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_private(path: Path, data: bytes) -> None:
    """Write a key or a kubeconfig: 0600 from its first byte on."""
    write_atomically(path, data, mode=0o600)
