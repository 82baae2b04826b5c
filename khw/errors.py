"""
Every error that khw raises on purpose, in one tree.

    KhwError                     exit code 1
    ├── UsageError               2   what was asked cannot be done as asked
    │   ├── ClusterFileError     2   khw.yaml, with the line
    │   └── FlagError            2   a flag or a field that the pinned version does not have
    ├── LockedError              1   another run holds the cluster
    ├── ProviderError            1   the cloud said no
    │   ├── CredentialsError     1   no credentials, or not the right ones
    │   ├── DiffersError         1   something exists and is not what the cluster file says
    │   └── OperationError       1   a cloud operation ended in an error or did not end
    ├── ArtifactError            1   a binary or an image cannot be had
    │   ├── DigestError          1   … or is not what the lock file says
    │   ├── SpaceError           1   … or does not fit on the disk
    │   └── ToolchainError       1   … or cannot be built here
    ├── PkiError                 1   a key or a certificate is lost or unusable
    ├── DiskError                1   the operator's own disk takes nothing more
    ├── LabError                 1   the lab cannot run, or a part of it does not answer
    ├── StepError                3   a step failed on a node
    ├── CutOffError            130   ended by Ctrl-C, before its own end
    └── UnreachableError         4   a node does not answer
        └── HostKeyError         4   … or is not the machine that it was

Each names the thing, says what was expected and seen, and the way out (`hint`).
"""

from __future__ import annotations

from typing import ClassVar


class KhwError(Exception):
    """
    Any error that khw raises on purpose.

    `message` says what is wrong and names the thing; `hint` says what to do next;
    `node` is the host it happened on, if it happened on one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", node: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        return f"{where}{self.message}"


class UsageError(KhwError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class ClusterFileError(UsageError):
    """The cluster file says something that cannot be; the message carries file and line."""


class FlagError(UsageError):
    """A flag or a field that would be written to a node, and that the pinned version does not have."""


class LockedError(KhwError):
    """Another run holds this cluster."""


class ProviderError(KhwError):
    """The cloud refused, or answered something unexpected."""


class CredentialsError(ProviderError):
    """No credentials were found, or they do not give the rights."""


class DiffersError(ProviderError):
    """A cloud resource exists under our name and is not what the cluster file says; `resources` are their ids."""

    def __init__(self, message: str, *, hint: str = "", resources: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.resources = resources


class OperationError(ProviderError):
    """A cloud operation ended in an error, or did not end in time."""


class ArtifactError(KhwError):
    """A binary or an image cannot be had from any source."""


class DigestError(ArtifactError):
    """What came is not what the lock file (or the build's record) says."""


class SpaceError(ArtifactError):
    """The disk is full."""


class ToolchainError(ArtifactError):
    """It would have to be built, and there is nothing to build it with."""


class PkiError(KhwError):
    """A key or certificate on the operator's side is lost or unusable."""


class DiskError(KhwError):
    """The operator's own disk takes nothing more: full, over quota, or read-only."""


class LabError(KhwError):
    """The lab cannot run here, or a part of it does not answer."""


class StepError(KhwError):
    """A step failed on a node; `evidence` holds the last lines of what it said."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", node: str = "", evidence: str = "") -> None:
        super().__init__(message, hint=hint, node=node)
        self.evidence = evidence


class CutOffError(KhwError):
    """It was ended by Ctrl-C, before its own end."""

    exit_code = 130


class UnreachableError(KhwError):
    """A node does not answer over SSH."""

    exit_code = 4


class HostKeyError(UnreachableError):
    """A node's SSH host key is not the one that its provider published."""
