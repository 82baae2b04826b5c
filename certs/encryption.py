"""The EncryptionConfiguration of chapter 6: Secrets are written encrypted; plain ones are still read."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Literal

from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_NAME = "key1"
"""As in the guide: what is stored begins with `k8s:enc:PROVIDER:v1:key1`."""


def render(provider: Literal["aescbc", "secretbox"], keys: Mapping[str, Secret]) -> Secret:
    """Return the configuration with these keys of 32 bytes, by name: the first one writes, all of them read."""
    rows = "\n".join(
        f"            - name: {name}\n              secret: {b64encode(key.reveal()).decode()}"
        for name, key in keys.items()
    )
    return Secret(
        f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - secrets
    providers:
      - {provider}:
          keys:
{rows}
      - identity: {{}}
"""
    )
