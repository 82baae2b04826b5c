"""Section 4: a worker's files, the kubelet, and kube-proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.tasks import kube_proxy, kubelet
from khw.verify.cis.control import Control, Judged, met, met_if, not_applicable, unmet
from khw.verify.cis.looks import both, field, mode, owner, strong
from khw.verify.cis.seen import UNIT_FILES

if TYPE_CHECKING:
    from khw.verify.cis.control import NodeControl
    from khw.verify.cis.seen import Seen

UNIT = f"{UNIT_FILES}/kubelet.service"
CONFIG = kubelet.CONFIG
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GATE = "featureGates.RotateKubeletServerCertificate"
HELD = "the kubelet's {} certificate is khw's: `khw run` renews it, the API issues none"


def _own_name(seen: Seen) -> Judged:
    if seen.flag("kubelet", "hostname-override") is None:
        return met("--hostname-override is not given")
    return unmet("--hostname-override is the machine's own name, so that no DHCP client makes another node of it")


def _rotates(seen: Seen) -> Judged:
    value = seen.document(CONFIG).get("rotateCertificates")
    if value is True:
        return met("rotateCertificates: true")
    return unmet("rotateCertificates: false") if value is False else not_applicable(HELD.format("client"))


def _rotates_serving(seen: Seen) -> Judged:
    gates = seen.document(CONFIG).get("featureGates") or {}
    if gates.get("RotateKubeletServerCertificate") is False:
        return unmet(f"{GATE}: false")
    if seen.document(CONFIG).get("serverTLSBootstrap"):
        return met("serverTLSBootstrap: true")
    return not_applicable(HELD.format("serving"))


def _suites(seen: Seen) -> Judged:
    return strong(seen.document(CONFIG).get("tlsCipherSuites") or ())


def _metrics(seen: Seen) -> Judged:
    if kube_proxy.CONFIG not in seen.texts:
        return unmet(f"there is no {kube_proxy.CONFIG}")
    address = seen.document(kube_proxy.CONFIG).get("metricsBindAddress") or ""
    return met_if(
        not address or address.startswith(LOOPBACK),
        f"metricsBindAddress: {address}" if address else "metricsBindAddress is 127.0.0.1:10249, the default",
    )


CONTROLS: tuple[NodeControl, ...] = (
    Control("4.1.1", "the kubelet's unit file is 0600", mode(UNIT, 0o600)),
    Control("4.1.2", "the kubelet's unit file is root's", owner(UNIT)),
    Control("4.1.3", "kube-proxy's kubeconfig is 0600", mode(kube_proxy.KUBECONFIG, 0o600), manual=True),
    Control("4.1.4", "kube-proxy's kubeconfig is root's", owner(kube_proxy.KUBECONFIG), manual=True),
    Control("4.1.5", "the kubelet's kubeconfig is 0600", mode(kubelet.KUBECONFIG, 0o600)),
    Control("4.1.6", "the kubelet's kubeconfig is root's", owner(kubelet.KUBECONFIG)),
    Control("4.1.7", "the authority's certificate is 0644 or stricter", mode(kubelet.CLIENT_CA, 0o644), manual=True),
    Control("4.1.8", "the authority's certificate is root's", owner(kubelet.CLIENT_CA), manual=True),
    Control("4.1.9", "the kubelet's configuration is 0600", mode(CONFIG, 0o600)),
    Control("4.1.10", "the kubelet's configuration is root's", owner(CONFIG)),
    Control(
        "4.2.1",
        "no request without credentials is let in",
        field(CONFIG, "authentication.anonymous.enabled", lambda value: value is False, default=False),
    ),
    Control(
        "4.2.2",
        "not everything is allowed",
        field(CONFIG, "authorization.mode", lambda value: value == "Webhook", default="Webhook"),
    ),
    Control(
        "4.2.3", "clients are known by their certificates", field(CONFIG, "authentication.x509.clientCAFile", bool)
    ),
    Control(
        "4.2.4", "there is no port for reading alone", field(CONFIG, "readOnlyPort", lambda v: v == 0, default=0), True
    ),
    Control(
        "4.2.5",
        "idle streams end",
        field(CONFIG, "streamingConnectionIdleTimeout", lambda v: str(v) not in ("0", "0s"), default="4h0m0s"),
        manual=True,
    ),
    Control(
        "4.2.6",
        "the kubelet makes its packet filter's chains",
        field(CONFIG, "makeIPTablesUtilChains", lambda value: value is True, default=True),
    ),
    Control("4.2.7", "the kubelet goes by the machine's own name", _own_name, manual=True),
    Control(
        "4.2.8",
        "events are recorded at a rate",
        field(CONFIG, "eventRecordQPS", lambda v: int(str(v)) >= 0, default=50),
        True,
    ),
    Control(
        "4.2.9",
        "the kubelet serves with a certificate of its authority",
        both(field(CONFIG, "tlsCertFile", bool), field(CONFIG, "tlsPrivateKeyFile", bool)),
        manual=True,
    ),
    Control("4.2.10", "the kubelet's client certificate is renewed", _rotates),
    Control("4.2.11", "the kubelet's serving certificate is renewed", _rotates_serving, manual=True),
    Control("4.2.12", "the kubelet takes strong cipher suites alone", _suites, manual=True),
    Control(
        "4.2.13",
        "a pod's processes are limited",
        field(CONFIG, "podPidsLimit", lambda v: int(str(v)) > 0, default=-1),
        True,
    ),
    Control(
        "4.2.14",
        "pods have the default seccomp profile",
        field(CONFIG, "seccompDefault", lambda v: v is True, default=False),
        True,
    ),
    Control("4.3.1", "kube-proxy's metrics are this machine's alone", _metrics),
)
