from __future__ import annotations

from base64 import b64decode

import pytest
from ruamel.yaml import YAML

from khw.certs import encryption, kubeconfig
from khw.certs.authority import Pair
from khw.secret import Secret

PAIR = Pair(b"the certificate", Secret(b"the key"))


def test_a_kubeconfig_embeds_everything_in_one_default_context() -> None:
    secret = kubeconfig.render(
        server="https://192.0.2.1:6443", ca=b"the authority", pair=PAIR, user="system:node:w", cluster_name="c"
    )
    config = YAML(typ="safe").load(secret.reveal())
    assert config["kind"] == "Config"
    assert config["current-context"] == "default"
    (context,), (server,), (user,) = config["contexts"], config["clusters"], config["users"]
    assert context == {"name": "default", "context": {"cluster": "c", "user": "system:node:w"}}
    assert server["cluster"]["server"] == "https://192.0.2.1:6443"
    assert b64decode(server["cluster"]["certificate-authority-data"]) == b"the authority"
    assert user["name"] == "system:node:w"
    assert b64decode(user["user"]["client-certificate-data"]) == b"the certificate"
    assert b64decode(user["user"]["client-key-data"]) == b"the key"


@pytest.mark.parametrize("provider", ["aescbc", "secretbox"])
def test_the_encryption_configuration_writes_with_its_provider_and_reads_all_others(provider: str) -> None:
    secret = encryption.render(provider, {"key1": Secret(b"k" * 32)})  # type: ignore[arg-type]  # a str from the decorator
    config = YAML(typ="safe").load(secret.reveal())
    assert config["apiVersion"] == "apiserver.config.k8s.io/v1"
    (resource,) = config["resources"]
    assert resource["resources"] == ["secrets"]
    *encrypting, last = resource["providers"]
    assert next(iter(encrypting[0])) == provider
    keys = {name: content["keys"] for each in encrypting for name, content in each.items()}
    assert set(keys) == {"aescbc", "secretbox"}, "or what one API server writes, the others could not read"
    for ((name, secret),) in ([(key["name"], key["secret"]) for key in of_one] for of_one in keys.values()):
        assert (name, b64decode(secret)) == ("key1", b"k" * 32)
    assert last == {"identity": {}}
