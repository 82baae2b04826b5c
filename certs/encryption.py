"""The EncryptionConfiguration of chapter 6: Secrets are written encrypted; plain ones are still read."""

from __future__ import annotations

from base64 import b64encode
from typing import Literal

from khw.secret import Secret

KEY_NAME = "key1"
"""As in the guide: what is stored begins with `k8s:enc:PROVIDER:v1:key1`."""


def render(provider: Literal["aescbc", "secretbox"], key: Secret) -> Secret:
    """Return the configuration with this key of 32 bytes."""
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
            - name: {KEY_NAME}
              secret: {b64encode(key.reveal()).decode()}
      - identity: {{}}
"""
    )
