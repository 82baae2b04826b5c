from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from fakes import cluster

from khw.agent.masking import masked, visible
from khw.certs import encryption, fields, kubeconfig
from khw.certs.authority import Pair, issue, make_authority
from khw.certs.identities import AUTHORITIES, identities
from khw.converge import difference
from khw.secret import Secret

CA = make_authority(AUTHORITIES[0], days=3650)
OTHER_CA = make_authority(AUTHORITIES[0], days=3650)
WHO = {identity.name: identity for identity in identities(cluster())}


def pair(name: str = "kubelet-worker-0", authority: Pair = CA, days: int = 365) -> Pair:
    return issue(WHO[name], authority, days=days)


def stranger() -> bytes:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "stranger")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def lines(text: str, sign: str) -> list[str]:
    return [line[1:] for line in text.splitlines() if line.startswith(sign) and not line.startswith(sign * 3)]


def test_a_new_text_is_all_new_lines() -> None:
    text = difference.of_text("/etc/x", None, "a\nb\n")
    assert text.splitlines()[0] == "--- (absent)"
    assert lines(text, "+") == ["a", "b"]


def test_a_changed_text_shows_what_differs_and_what_is_around_it() -> None:
    text = difference.of_text("/etc/x", "a\nb\nc\n", "a\nB\nc\n")
    assert (lines(text, "-"), lines(text, "+")) == (["b"], ["B"])
    assert " a" in text.splitlines()


def test_a_certificate_is_shown_as_its_fields() -> None:
    said = fields.describe(pair().certificate)
    assert "subject: CN=system:node:worker-0,O=system:nodes" in said
    assert "issuer: CN=Kubernetes,O=Kubernetes" in said
    assert "authority: no" in said
    assert "key usage: digital signature" in said
    assert "used as: server, client" in said
    assert "name: worker-0" in said
    assert "address: 10.240.0.20" in said
    until = datetime.now(UTC) + timedelta(days=365)
    assert f"valid until: {until:%Y-%m-%d}" in said


def test_an_authority_is_shown_as_one() -> None:
    said = fields.describe(CA.certificate)
    assert "authority: yes" in said
    assert "key usage: key cert sign, crl sign" in said


@pytest.mark.parametrize("before", [None, "garbage", pair().certificate.decode(), stranger().decode()])
def test_the_difference_of_certificates_holds_no_pem(before: str | None) -> None:
    text = difference.of_certificate("/x.pem", before, pair().certificate)
    assert text
    assert "BEGIN" not in text
    assert all(len(line) < 80 for line in text.splitlines())


def test_a_strangers_certificate_is_told_by_every_field() -> None:
    text = difference.of_certificate("/x.pem", stranger().decode(), pair().certificate)
    assert {"subject: CN=stranger", "issuer: CN=stranger"} <= set(lines(text, "-"))
    assert {"name: worker-0", "used as: server, client", "another key"} <= set(lines(text, "+"))


def test_a_certificate_of_another_authority_of_the_same_name_is_told_by_its_issuers_key() -> None:
    text = difference.of_certificate("/x.pem", pair(authority=OTHER_CA).certificate.decode(), pair().certificate)
    assert [line.split(":")[0] for line in lines(text, "-")] == ["issuer's key"]
    assert "another key" in lines(text, "+")


def test_a_certificate_issued_again_for_the_same_key_still_differs() -> None:
    old = pair()
    new = issue(WHO["kubelet-worker-0"], CA, days=365, key=old.private_key)
    text = difference.of_certificate("/x.pem", old.certificate.decode(), new.certificate)
    assert lines(text, "+") == ["another serial number or signature"]


def test_what_is_no_certificate_is_called_so_and_not_shown() -> None:
    text = difference.of_certificate("/x.pem", "pass" + "word", pair().certificate)
    assert lines(text, "-") == ["not a certificate"]


def config(pair: Pair, server: str = "https://192.0.2.1:6443") -> str:
    secret = kubeconfig.render(server=server, ca=CA.certificate, pair=pair, user="admin", cluster_name="c")
    return secret.reveal().decode()


def on_the_node(text: str) -> str:
    seen = visible(text, difference.SALT)
    assert seen is not None
    return seen


def test_a_new_kubeconfig_is_shown_without_what_it_embeds() -> None:
    text = config(pair("admin"))
    said = difference.of_masked("kubeconfig", None, text)
    assert "    server: https://192.0.2.1:6443" in lines(said, "+")
    assert [line.strip() for line in lines(said, "+") if "-data" in line] == [
        "certificate-authority-data: (masked)",
        "client-certificate-data: (masked)",
        "client-key-data: (masked)",
    ]


def test_of_a_changed_kubeconfig_only_what_really_differs_is_shown() -> None:
    one = pair("admin")
    before, after = config(one), config(one, "https://192.0.2.2:6443")
    said = difference.of_masked("kubeconfig", on_the_node(before), after)
    assert [line.strip() for line in lines(said, "+")] == ["server: https://192.0.2.2:6443"]


def test_another_key_in_a_kubeconfig_is_said_to_be_another_and_not_shown() -> None:
    one, other = pair("admin"), pair("admin")
    said = difference.of_masked("kubeconfig", on_the_node(config(one)), config(other))
    assert [line.strip() for line in lines(said, "+")] == [
        "client-certificate-data: (another, masked)",
        "client-key-data: (another, masked)",
    ]


def test_the_provider_of_encryption_is_seen_to_change_and_its_key_is_not() -> None:
    key = Secret(bytes(range(32)))
    before, after = (encryption.render(p, {"key1": key}).reveal().decode() for p in ("aescbc", "secretbox"))
    said = difference.of_masked("encryption-config.yaml", on_the_node(before), after)
    providers = [line.strip() for line in said.splitlines() if line.endswith(("aescbc:", "secretbox:"))]
    assert providers == ["+      - secretbox:", "- aescbc:", "-      - secretbox:"]
    assert "AAECAwQF" not in said


@pytest.mark.parametrize(
    "text",
    [
        "token: abc",
        '"token": "abc"',
        "Token = abc",
        "  password: hunter2",
        "secret: s",
        '{"users": [{"client-key-data": "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSU"}]}',
        "whatever LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSU",
        "x eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJpc3MiOiJrdWJlcm5ldGVzL3Nl.ZXJ2aWNlYWNjb3VudCIsImt1YmV",
    ],
)
def test_what_may_be_secret_is_masked_in_whatever_form_somebody_wrote_it(text: str) -> None:
    said = masked(text, "salt")
    for word in ("abc", "hunter2", ": s", "LS0tLS1", "eyJhbGci", "eyJpc3Mi", "ZXJ2aWNl"):
        assert word not in said


def test_nothing_of_a_private_key_is_shown_with_or_without_masks() -> None:
    text = CA.key.reveal().decode()
    assert visible(text, "") is None
    assert visible(text, "salt") is None


def test_what_is_masked_tells_nothing_without_the_salt() -> None:
    assert masked("token: abc", "one") != masked("token: abc", "other")
    assert masked("token: abc", "one") == masked("token: abc", "one")


def test_kubectls_diff_comes_without_its_temporary_files_and_what_the_server_makes_up() -> None:
    said = """\
diff -u -N /tmp/LIVE-123/v1.ConfigMap.kube-system.coredns /tmp/MERGED-456/v1.ConfigMap.kube-system.coredns
--- /tmp/LIVE-123/v1.ConfigMap.kube-system.coredns\t2026-11-23 14:26:31.000000000 +0000
+++ /tmp/MERGED-456/v1.ConfigMap.kube-system.coredns\t2026-11-23 14:26:31.000000000 +0000
@@ -1,4 +1,5 @@
 data:
-  Corefile: broken
+  Corefile: right
+  uid: 60b8ce2b-3d33-412d-b7fa-dc57c17db72f
+  creationTimestamp: "2026-11-23T14:26:31Z"
"""
    assert difference.of_objects(said).splitlines() == [
        "--- v1.ConfigMap.kube-system.coredns",
        "+++ v1.ConfigMap.kube-system.coredns",
        "@@ -1,4 +1,5 @@",
        " data:",
        "-  Corefile: broken",
        "+  Corefile: right",
    ]
