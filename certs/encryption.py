"""The EncryptionConfiguration of chapter 6: Secrets are written encrypted; plain ones are still read."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Literal, get_args

from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

Provider = Literal["aescbc", "secretbox"]

KEY_NAME = "key1"
"""As in the guide: what is stored begins with `k8s:enc:PROVIDER:v1:key1`."""


def render(provider: Provider, keys: Mapping[str, Secret]) -> Secret:
    """
    Return the configuration with these keys of 32 bytes, by name: the first provider and key write, all of them read.

    The other provider is there to read: what it has written stays readable when the provider is changed, and while one
    API server after another takes the change up, each reads what the others write. (Kubernetes: Encrypting Confidential
    Data at Rest, "Rotate a decryption key".)
    """
    order: list[Provider] = [provider, *(other for other in get_args(Provider) if other != provider)]
    return Secret(
        f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - secrets
    providers:
{"".join(_provider(name, keys) for name in order)}\
      - identity: {{}}
"""
    )


def _provider(name: Provider, keys: Mapping[str, Secret]) -> str:
    rows = "".join(
        f"            - name: {key}\n              secret: {b64encode(secret.reveal()).decode()}\n"
        for key, secret in keys.items()
    )
    return f"      - {name}:\n          keys:\n{rows}"
