"""Section 2: etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.verify.cis.control import Control, Judged, met_if, unmet
from khw.verify.cis.looks import absent, given, is_value
from khw.verify.cis.seen import AUTHORITIES

if TYPE_CHECKING:
    from khw.verify.cis.control import NodeControl
    from khw.verify.cis.seen import Seen

UNIT = "etcd"


def _authority_of_its_own(seen: Seen) -> Judged:
    ours, etcds = (seen.digests.get(path) for path in AUTHORITIES)
    if not ours or not etcds:
        return unmet("an authority's certificate is missing")
    return met_if(ours != etcds, "etcd's authority is another than the cluster's" if ours != etcds else "one for both")


CONTROLS: tuple[NodeControl, ...] = (
    Control("2.1", "etcd serves clients over TLS", given(UNIT, "cert-file", "key-file")),
    Control("2.2", "etcd asks clients for a certificate", is_value(UNIT, "client-cert-auth", "true")),
    Control("2.3", "etcd makes no certificate of its own for clients", absent(UNIT, "auto-tls")),
    Control("2.4", "etcd's members talk over TLS", given(UNIT, "peer-cert-file", "peer-key-file")),
    Control("2.5", "etcd's members ask each other for a certificate", is_value(UNIT, "peer-client-cert-auth", "true")),
    Control("2.6", "etcd makes no certificate of its own for members", absent(UNIT, "peer-auto-tls")),
    Control("2.7", "etcd has an authority of its own", _authority_of_its_own, manual=True),
)
