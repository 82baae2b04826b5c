"""Sections 1 and 3: the control plane's files, its three programs, who logs in, and what is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.tasks import certificates, containerd, control_plane, etcd
from khw.verify.cis.control import Control, Judged, for_a_person, met, met_if, not_applicable, unmet
from khw.verify.cis.looks import (
    absent,
    among,
    at_least,
    field,
    given,
    in_place_of,
    is_value,
    mode,
    not_among,
    owner,
    strong,
)
from khw.verify.cis.seen import UNIT_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from khw.verify.cis.control import NodeControl
    from khw.verify.cis.looks import Look
    from khw.verify.cis.seen import Seen

API, MANAGER, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
STATE = certificates.KUBERNETES
PLUGINS, DISABLED = "enable-admission-plugins", "disable-admission-plugins"
HEALTH = {"/livez", "/readyz", "/healthz"}
LONGEST_REQUEST = 300  # seconds; the benchmark's own example
ENCRYPTING = {"aescbc", "secretbox", "kms"}
WATCHED = (
    ("", "secrets"),
    ("", "configmaps"),
    ("authentication.k8s.io", "tokenreviews"),
    ("", "pods"),
    ("apps", "deployments"),
)
WATCHED_PARTS = (("", "pods/exec"), ("", "pods/portforward"), ("", "pods/proxy"), ("", "services/proxy"))


CNI = f"{containerd.CNI_CONF}/*"
NETWORK_FILES: tuple[NodeControl, ...] = (
    Control("1.1.9", "files of the pods' network are 0600", mode(CNI, 0o600), manual=True),
    Control("1.1.10", "files of the pods' network are root's", owner(CNI), manual=True),
)
"""Listed with the control plane's files; where pods run, on workers, they are there too."""


def _files() -> Iterator[NodeControl]:
    """Section 1.1. There are no static pods: the unit file is what starts each component."""
    for first, (name, unit) in zip(
        (1, 3, 5, 7),
        (("the API server", API), ("the controller manager", MANAGER), ("the scheduler", SCHEDULER), ("etcd", "etcd")),
        strict=True,
    ):
        path = f"{UNIT_FILES}/{unit}.service"
        what = "no static pod; its unit file"
        yield Control(f"1.1.{first}", f"what starts {name} is 0600", in_place_of(what, mode(path, 0o600)))
        yield Control(f"1.1.{first + 1}", f"what starts {name} is root's", in_place_of(what, owner(path)))
    yield from NETWORK_FILES
    yield Control("1.1.11", "etcd's data directory is 0700", mode(etcd.DATA, 0o700))
    yield Control("1.1.12", "etcd's data directory is etcd's own", owner(etcd.DATA, "etcd:etcd"))
    for first, what, name in (
        (13, "the administrator's kubeconfig", "admin"),
        (15, "the scheduler's kubeconfig", SCHEDULER),
        (17, "the controller manager's kubeconfig", MANAGER),
    ):
        path = f"{STATE}/{name}.kubeconfig"
        yield Control(f"1.1.{first}", f"{what} is 0600", mode(path, 0o600))
        yield Control(f"1.1.{first + 1}", f"{what} is root's", owner(path))
    yield Control("1.1.19", "certificates and keys, and their directory, are root's", owner(f"{STATE}*"))
    certificate = mode(f"{STATE}/*.pem", 0o644, besides="*-key.pem")
    yield Control("1.1.20", "certificates are 0644 or stricter", certificate, manual=True)
    yield Control("1.1.21", "keys are 0600", mode(f"{STATE}/*-key.pem", 0o600), manual=True)


def _anonymous(seen: Seen) -> Judged:
    if seen.flag(API, "anonymous-auth") == "false":
        return met("--anonymous-auth=false")
    anonymous: Mapping[str, Any] = seen.document(control_plane.AUTHENTICATION).get("anonymous") or {}
    paths = {row.get("path") for row in anonymous.get("conditions") or ()}
    if not seen.flag(API, "authentication-config") or not (paths and anonymous.get("enabled")):
        closed = anonymous.get("enabled") is False
        return met_if(closed, "off in the authentication configuration" if closed else "on for every path")
    return met_if(paths <= HEALTH, f"for {', '.join(sorted(map(str, paths)))} alone, which the load balancer asks for")


def _no_pulls(seen: Seen) -> Judged:
    if "AlwaysPullImages" in (seen.flag(API, PLUGINS) or "").split(","):
        return met("it is on")
    return not_applicable("images are pushed to the nodes and there is no registry to pull from: no pod would start")


def _request_timeout(seen: Seen) -> Judged:
    value = seen.flag(API, "request-timeout")
    if value is None:
        return met("60 s, the default")
    return met_if(_seconds(value) <= LONGEST_REQUEST, f"--request-timeout={value}")


def _seconds(text: str) -> float:
    """Return the seconds in a Go duration of the simple kind (90s, 1m0s, 1h)."""
    total, number = 0.0, ""
    for character in text:
        if character in "0123456789.":
            number += character
        else:
            total += float(number or 0) * {"s": 1, "m": 60, "h": 3600}.get(character, 0)
            number = ""
    return total


def _providers(seen: Seen) -> Judged:
    first = seen.providers[0] if seen.providers else "none"
    return met_if(first in ENCRYPTING, f"Secrets are written with {first}")


def _suites(seen: Seen) -> Judged:
    return strong(filter(None, (seen.flag(API, "tls-cipher-suites") or "").split(",")))


def _rate_limited(seen: Seen) -> Judged:
    if "EventRateLimit" not in (seen.flag(API, PLUGINS) or "").split(","):
        return unmet("EventRateLimit is not among the admission plugins")
    configured = {row.get("name") for row in seen.document(control_plane.ADMISSION_CONFIG).get("plugins") or ()}
    return met_if("EventRateLimit" in configured, f"it is on, its limits are in {control_plane.ADMISSION_CONFIG}")


def _on_by_default(plugin: str) -> Look:
    def look(seen: Seen) -> Judged:
        off = plugin in (seen.flag(API, DISABLED) or "").split(",")
        return met_if(not off, f"{plugin} is {'switched off' if off else 'on'}")

    return look


def _rotation(seen: Seen) -> Judged:
    gates = seen.flag(MANAGER, "feature-gates") or ""
    off = "RotateKubeletServerCertificate=false" in gates
    return met_if(not off, f"--feature-gates={gates}" if gates else "no feature gate is changed")


def _policy(seen: Seen) -> Judged:
    path = seen.flag(API, "audit-policy-file")
    rules = seen.document(control_plane.AUDIT_POLICY).get("rules")
    return met_if(bool(path and rules), f"{path}: {len(rules or ())} rules")


def _policy_covers(seen: Seen) -> Judged:
    """By the policy's own rule: the first that matches decides; who asks here is a user of no group of ours."""
    rules = seen.document(control_plane.AUDIT_POLICY).get("rules") or ()
    left_out = [
        f"{verb} {resource}"
        for group, resource in (*WATCHED, *WATCHED_PARTS)
        for verb in ("get", "create", "update", "delete")
        if _level(rules, group, resource, verb) == "None"
    ]
    bodies = [name for group, name in WATCHED[:3] if _level(rules, group, name, "update").startswith("Request")]
    if left_out or bodies:
        return unmet(
            "; ".join((*(f"not logged: {name}" for name in left_out), *(f"bodies logged: {n}" for n in bodies)))
        )
    return met("changes, exec, port-forward and proxy are logged; of Secrets, ConfigMaps and tokens no body is")


def _level(rules: Any, group: str, resource: str, verb: str) -> str:
    for rule in rules:
        if rule.get("nonResourceURLs") or rule.get("users") or rule.get("userGroups") or rule.get("namespaces"):
            continue
        if rule.get("verbs") and verb not in rule["verbs"]:
            continue
        listed = rule.get("resources")
        if not listed or any(
            row.get("group", "") == group and resource in (row.get("resources") or [resource]) for row in listed
        ):
            return str(rule["level"])
    return "None"


def _administrator(seen: Seen) -> Judged:
    del seen
    return for_a_person(
        "the administrator that khw makes is a client certificate, for a beginning and for emergencies; "
        "an issuer of tokens for people (OIDC) is not among khw's settings"
    )


def _no_bootstrap_tokens(seen: Seen) -> Judged:
    on = seen.flag(API, "enable-bootstrap-token-auth") == "true"
    return met_if(not on, "bootstrap tokens are on" if on else "the API server takes no bootstrap token")


def _tokens_for_people(seen: Seen) -> Judged:
    del seen
    return for_a_person("khw gives no person a service account's token; whether somebody else did, RBAC objects tell")


CONTROLS: tuple[NodeControl, ...] = (
    *_files(),
    Control("1.2.1", "no request without credentials is let in", _anonymous, manual=True),
    Control("1.2.2", "no tokens from a file", absent(API, "token-auth-file")),
    Control(
        "1.2.3", "no Service takes an external address", among(API, PLUGINS, "DenyServiceExternalIPs"), manual=True
    ),
    Control(
        "1.2.4",
        "the API server shows kubelets a certificate",
        given(API, "kubelet-client-certificate", "kubelet-client-key"),
    ),
    Control("1.2.5", "the API server verifies kubelets", given(API, "kubelet-certificate-authority")),
    Control("1.2.6", "not everything is allowed", not_among(API, "authorization-mode", "AlwaysAllow")),
    Control("1.2.7", "kubelets reach what is theirs alone", among(API, "authorization-mode", "Node")),
    Control("1.2.8", "rights are given by roles", among(API, "authorization-mode", "RBAC")),
    Control("1.2.9", "events come at a limited rate", _rate_limited, manual=True),
    Control("1.2.10", "not everything is admitted", not_among(API, PLUGINS, "AlwaysAdmit")),
    Control("1.2.11", "images are pulled for every pod", _no_pulls, manual=True),
    Control("1.2.12", "pods get service accounts", _on_by_default("ServiceAccount")),
    Control("1.2.13", "nothing is made in a namespace that is not there", _on_by_default("NamespaceLifecycle")),
    Control("1.2.14", "kubelets change what is theirs alone", among(API, PLUGINS, "NodeRestriction")),
    Control("1.2.15", "the API server serves no profiles", is_value(API, "profiling", "false", default="true")),
    Control("1.2.16", "there is an audit log", given(API, "audit-log-path")),
    Control("1.2.17", "audit logs are kept 30 days", at_least(API, "audit-log-maxage", 30)),
    Control("1.2.18", "ten old audit logs are kept", at_least(API, "audit-log-maxbackup", 10)),
    Control("1.2.19", "an audit log has 100 MB before the next", at_least(API, "audit-log-maxsize", 100)),
    Control("1.2.20", "a request ends in due time", _request_timeout, manual=True),
    Control(
        "1.2.21",
        "a token of a service account that is gone is worth nothing",
        is_value(API, "service-account-lookup", "true", default="true"),
    ),
    Control("1.2.22", "service accounts' tokens have a key of their own", given(API, "service-account-key-file")),
    Control("1.2.23", "the API server shows etcd a certificate", given(API, "etcd-certfile", "etcd-keyfile")),
    Control("1.2.24", "the API server serves over TLS", given(API, "tls-cert-file", "tls-private-key-file")),
    Control("1.2.25", "clients are known by their certificates", given(API, "client-ca-file")),
    Control("1.2.26", "the API server verifies etcd", given(API, "etcd-cafile")),
    Control("1.2.27", "Secrets are encrypted at rest", given(API, "encryption-provider-config"), manual=True),
    Control("1.2.28", "the encryption is a good one", _providers, manual=True),
    Control("1.2.29", "the API server takes strong cipher suites alone", _suites, manual=True),
    Control(
        "1.2.30",
        "service accounts' tokens live as long as they say",
        is_value(API, "service-account-extend-token-expiration", "false", default="true"),
    ),
    Control("1.3.1", "pods that ended are cleared away", given(MANAGER, "terminated-pod-gc-threshold"), manual=True),
    Control(
        "1.3.2", "the controller manager serves no profiles", is_value(MANAGER, "profiling", "false", default="true")
    ),
    Control(
        "1.3.3",
        "each controller has an account of its own",
        is_value(MANAGER, "use-service-account-credentials", "true"),
    ),
    Control("1.3.4", "tokens are signed with a key of its own", given(MANAGER, "service-account-private-key-file")),
    Control("1.3.5", "pods are given the authority to verify the API", given(MANAGER, "root-ca-file")),
    Control("1.3.6", "kubelets' serving certificates may be renewed", _rotation),
    Control(
        "1.3.7", "the controller manager serves this machine alone", is_value(MANAGER, "bind-address", "127.0.0.1")
    ),
    Control(
        "1.4.1",
        "the scheduler serves no profiles",
        field(control_plane.SCHEDULER, "enableProfiling", lambda value: value is False, default=True),
    ),
    Control("1.4.2", "the scheduler serves this machine alone", is_value(SCHEDULER, "bind-address", "127.0.0.1")),
    Control("3.1.1", "people do not log in with client certificates", _administrator, manual=True),
    Control("3.1.2", "people do not log in with service accounts' tokens", _tokens_for_people, manual=True),
    Control("3.1.3", "people do not log in with bootstrap tokens", _no_bootstrap_tokens, manual=True),
    Control("3.2.1", "there is an audit policy", _policy, manual=True),
    Control("3.2.2", "the audit policy covers what matters", _policy_covers, manual=True),
)
