from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    DNSName,
    ExtensionPolicy,
    IPAddress,
    PolicyBuilder,
    Store,
    VerificationError,
)
from fakes import cluster

from khw.certs.authority import issue
from khw.certs.identities import AUTHORITIES, Usage, identities
from khw.certs.pki import Pki, load_or_issue
from khw.cluster.model import NOT_KNOWN_YET
from khw.converge.changes import Action
from khw.errors import PkiError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509.verification import Policy

    from khw.certs.identities import Identity

CLUSTER = cluster()
IDENTITIES = identities(CLUSTER)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return load_or_issue(tmp_path_factory.mktemp("shared") / "pki", CLUSTER)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "pki"
    load_or_issue(directory, CLUSTER)
    return directory


def changed(pki: Pki) -> dict[str, Action]:
    return {change.resource: change.action for change in pki.changes if change.changed}


def named(name: str) -> Identity:
    return next(identity for identity in IDENTITIES if identity.name == name)


def require_no_names(policy: Policy, certificate: x509.Certificate, names: x509.ExtensionType | None) -> None:
    if names is not None:
        msg = f"{certificate.subject} is only a client, and has names for {policy}"
        raise ValueError(msg)


def builder(pki: Pki, identity: Identity) -> PolicyBuilder:
    return PolicyBuilder().store(Store([pki.authority(identity.authority).x509]))


@pytest.mark.parametrize("identity", [i for i in IDENTITIES if Usage.SERVER in i.usages], ids=lambda i: i.name)
def test_a_server_verifies_under_each_of_its_names(pki: Pki, identity: Identity) -> None:
    certificate = pki.pair(identity.name).x509
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    subjects = [DNSName(name) for name in names.get_values_for_type(x509.DNSName)]
    subjects += [IPAddress(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert len(subjects) == len(identity.names) + len(identity.addresses)
    for subject in subjects:
        builder(pki, identity).build_server_verifier(subject).verify(certificate, [])


@pytest.mark.parametrize("identity", [i for i in IDENTITIES if i.usages == (Usage.CLIENT,)], ids=lambda i: i.name)
def test_a_client_verifies_and_has_no_names(pki: Pki, identity: Identity) -> None:
    policy = ExtensionPolicy.webpki_defaults_ee().may_be_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, require_no_names
    )
    verifier = (
        builder(pki, identity)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy)
        .build_client_verifier()
    )
    verifier.verify(pki.pair(identity.name).x509, [])


def test_a_pair_of_one_authority_is_nobody_to_another(pki: Pki) -> None:
    verifier = (
        PolicyBuilder().store(Store([pki.authority("kubernetes").x509])).build_server_verifier(DNSName("controller-0"))
    )
    with pytest.raises(VerificationError):
        verifier.verify(pki.pair("etcd-controller-0").x509, [])


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda i: i.name)
def test_a_certificate_gives_its_usages_and_no_others(pki: Pki, identity: Identity) -> None:
    extensions = pki.pair(identity.name).x509.extensions
    key_usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert key_usage.critical
    assert key_usage.value.digital_signature
    assert not any((key_usage.value.key_cert_sign, key_usage.value.key_encipherment, key_usage.value.key_agreement))
    oids = {Usage.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Usage.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}
    if identity.usages:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(purposes) == {oids[usage] for usage in identity.usages}
    else:
        with pytest.raises(x509.ExtensionNotFound):
            extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_authorities_sign_end_certificates_only(pki: Pki) -> None:
    for authority in AUTHORITIES:
        certificate = pki.authority(authority.name).x509
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value == (
            x509.BasicConstraints(ca=True, path_length=0)
        )
        assert certificate.subject.rfc4514_string() == f"CN={authority.common_name},O=Kubernetes"


def test_every_identity_has_a_key_of_its_own_on_p256(pki: Pki) -> None:
    keys = [pair.private_key for pair in (*pki.pairs.values(), *pki.authorities.values())]
    assert {key.curve.name for key in keys} == {SECP256R1.name}
    assert len({key.private_numbers().private_value for key in keys}) == len(keys)


def test_everything_on_disk_is_for_its_owner_alone(directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_the_first_load_makes_everything_and_the_second_nothing(tmp_path: Path) -> None:
    first = load_or_issue(tmp_path / "pki", CLUSTER)
    assert set(changed(first).values()) == {Action.CREATED}
    assert len(first.changes) == 1 + len(AUTHORITIES) + len(IDENTITIES)
    second = load_or_issue(tmp_path / "pki", CLUSTER)
    assert changed(second) == {}
    assert second.pairs == first.pairs
    assert second.encryption_key == first.encryption_key


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    pki = load_or_issue(tmp_path / "pki", CLUSTER, check=True)
    assert changed(pki)["certificate:admin"] is Action.CREATED
    assert not (tmp_path / "pki").exists()


def test_a_stopped_machine_that_has_lost_its_external_address_issues_nothing(directory: Path) -> None:
    whole = cluster()
    load_or_issue(directory, whole)
    stopped = replace(whole.node("controller-1"), external_ip=None, unreachable="its instance is TERMINATED")
    nodes = tuple(stopped if node.name == stopped.name else node for node in whole.nodes)
    assert not [c for c in load_or_issue(directory, replace(whole, nodes=nodes)).changes if c.changed]


def test_another_address_issues_only_what_names_it(directory: Path) -> None:
    moved = cluster(api_address="198.51.100.200")
    assert changed(load_or_issue(directory, moved)) == {"certificate:kubernetes": Action.UPDATED}
    assert changed(load_or_issue(directory, moved)) == {}


def test_another_node_issues_only_its_own(directory: Path) -> None:
    spec = CLUSTER.spec.model_copy(update={"workers": CLUSTER.spec.workers.model_copy(update={"count": 4})})
    assert changed(load_or_issue(directory, cluster(spec))) == {"certificate:kubelet-worker-3": Action.CREATED}


def test_certificates_that_end_soon_are_issued_again(directory: Path) -> None:
    before = load_or_issue(directory, CLUSTER)
    after = load_or_issue(directory, CLUSTER, renew_days=366)
    assert set(changed(after)) == {f"certificate:{identity.name}" for identity in IDENTITIES}
    kept = {name for name in before.pairs if before.pair(name).key == after.pair(name).key}
    assert kept == {"service-accounts"}  # the tokens that it signed go on


def test_another_subject_or_usage_is_issued_again(directory: Path) -> None:
    pki = load_or_issue(directory, CLUSTER)
    stranger = replace(named("admin"), organization="system:somebody")
    server = replace(named("kube-proxy"), usages=(Usage.SERVER,))
    for identity in (stranger, server):
        pair = issue(identity, pki.authority("kubernetes"), days=365)
        (directory / f"{identity.name}.pem").write_bytes(pair.certificate)
        (directory / f"{identity.name}-key.pem").write_bytes(pair.key.reveal())
    changes = {c.resource: c.before for c in load_or_issue(directory, CLUSTER).changes if c.changed}
    assert changes == {"certificate:admin": "another subject", "certificate:kube-proxy": "other usages"}


def test_another_authority_issues_its_own_again(directory: Path, tmp_path: Path) -> None:
    load_or_issue(tmp_path / "other", CLUSTER)
    for name in ("front-proxy-ca.pem", "front-proxy-ca-key.pem"):
        (directory / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert changed(load_or_issue(directory, CLUSTER)) == {"certificate:front-proxy-client": Action.UPDATED}


@pytest.mark.parametrize(
    "lost",
    [
        ("kubernetes-ca-key.pem",),
        ("etcd-ca.pem",),
        ("etcd-ca.pem", "etcd-ca-key.pem"),
        ("service-accounts-key.pem",),
        ("encryption-key",),
    ],
)
def test_what_cannot_be_made_again_stops_the_run_when_lost(directory: Path, lost: tuple[str, ...]) -> None:
    for name in lost:
        (directory / name).unlink()
    before = sorted(directory.iterdir())
    with pytest.raises(PkiError, match=f"{lost[-1]} is lost") as caught:
        load_or_issue(directory, CLUSTER)
    assert "backup" in caught.value.hint
    assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize("missing", ["admin.pem", "admin-key.pem"])
def test_half_a_pair_that_a_killed_run_left_is_made_whole(directory: Path, missing: str) -> None:
    (directory / missing).unlink()
    assert changed(load_or_issue(directory, CLUSTER)) == {"certificate:admin": Action.CREATED}
    assert changed(load_or_issue(directory, CLUSTER)) == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("admin.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n", r"admin\.pem is not a certificate"),
        ("etcd-ca-key.pem", b"SECRET", r"etcd-ca-key\.pem is not an unencrypted elliptic curve key"),
        ("encryption-key", b"SECRET", "encryption-key is not 32 bytes"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_named_and_not_shown(
    directory: Path, name: str, content: bytes, message: str
) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(PkiError, match=message) as caught:
        load_or_issue(directory, CLUSTER)
    assert "SECRET" not in str(caught.value)


def test_another_ones_key_is_named(directory: Path) -> None:
    (directory / "admin-key.pem").write_bytes((directory / "kube-proxy-key.pem").read_bytes())
    with pytest.raises(PkiError, match=r"admin-key\.pem is not the key of .*admin\.pem"):
        load_or_issue(directory, CLUSTER)


def test_a_certificate_that_was_tampered_with_is_named(directory: Path) -> None:
    path = directory / "admin.pem"
    der = bytearray(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))
    der[-1] ^= 1  # the signature's last byte
    path.write_bytes(x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM))
    with pytest.raises(PkiError, match=r"admin\.pem was changed"):
        load_or_issue(directory, CLUSTER)


def test_a_key_that_others_could_read_is_closed_again(directory: Path) -> None:
    (directory / "admin-key.pem").chmod(0o644)
    load_or_issue(directory, CLUSTER)
    assert (directory / "admin-key.pem").stat().st_mode & 0o777 == 0o600


def test_an_authority_that_ends_soon_stops_the_run(directory: Path) -> None:
    with pytest.raises(PkiError, match=r"kubernetes-ca\.pem ends"):
        load_or_issue(directory, CLUSTER, renew_days=3651)


def test_no_certificate_outlives_its_authority(pki: Pki) -> None:
    authority = pki.authority("kubernetes")
    pair = issue(named("admin"), authority, days=36500)
    assert pair.x509.not_valid_after_utc == authority.x509.not_valid_after_utc


def test_a_pki_does_not_show_its_keys(pki: Pki) -> None:
    assert "PRIVATE" not in repr(pki)


def test_a_plan_issues_in_memory_and_shows_fields(tmp_path: Path) -> None:
    planned = load_or_issue(tmp_path / "pki", CLUSTER, check=True)
    assert not (tmp_path / "pki").exists()
    diffs = {change.resource: change.diff for change in planned.changes}
    assert "+subject: CN=admin,O=system:masters" in diffs["certificate:admin"].splitlines()
    assert "+authority: yes" in diffs["authority:etcd"].splitlines()
    assert diffs["key:encryption"] == ""
    assert "BEGIN" not in "".join(diffs.values())


def test_a_plan_of_what_is_issued_again_shows_what_differs(directory: Path) -> None:
    moved = cluster(api_address="198.51.100.200")
    planned = load_or_issue(directory, moved, check=True)
    done = load_or_issue(directory, moved)
    assert changed(planned) == changed(done) == {"certificate:kubernetes": Action.UPDATED}
    (diff,) = (change.diff.splitlines() for change in planned.changes if change.changed)
    assert "-address: 198.51.100.100" in diff
    assert "+address: 198.51.100.200" in diff


def test_a_plan_leaves_the_rights_of_a_key_to_the_run(directory: Path) -> None:
    key = directory / "admin-key.pem"
    key.chmod(0o644)
    load_or_issue(directory, CLUSTER, check=True)
    assert key.stat().st_mode & 0o777 == 0o644
    load_or_issue(directory, CLUSTER)
    assert key.stat().st_mode & 0o777 == 0o600


def test_an_address_that_is_not_known_yet_is_in_no_certificate(tmp_path: Path) -> None:
    planned = load_or_issue(tmp_path / "pki", cluster(api_address=NOT_KNOWN_YET), check=True)
    assert NOT_KNOWN_YET not in "".join(change.diff for change in planned.changes)
