"""
Chapter 8: the API server, the controller manager and the scheduler, as three units a controller.

The flags are the guide's, less those that Kubernetes has removed since, and with what both editions leave out: the
front proxy's authority (aggregation), an audit policy, anonymous requests for health alone, kubelets reached by
address, and serving certificates for all three. Every flag was checked against v1.37.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.resources import Binary, Directory, File, Manifest, Unit, Wait
from khw.engine.turns import Health
from khw.tasks.kubeconfigs import ADMIN
from khw.tasks.units import CIPHER_SUITES, STRICT, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource
    from khw.tasks.units import Flag

DOCUMENTATION = "https://kubernetes.io/docs/"
BIN = "/usr/local/bin"
STATE = "/var/lib/kubernetes"
CONFIG = "/etc/kubernetes/config"
LOGS = "/var/log/kubernetes"

ADMISSION_CONFIG = f"{CONFIG}/admission.yaml"
AUDIT_POLICY = f"{CONFIG}/audit-policy.yaml"
AUTHENTICATION = f"{CONFIG}/authentication.yaml"
SCHEDULER = f"{CONFIG}/kube-scheduler.yaml"

API_SERVER_INPUTS = (
    "ca.pem",
    "kubernetes.pem",
    "kubernetes-key.pem",
    "service-account.pem",
    "service-account-key.pem",
    "etcd-ca.pem",
    "apiserver-etcd-client.pem",
    "apiserver-etcd-client-key.pem",
    "apiserver-kubelet-client.pem",
    "apiserver-kubelet-client-key.pem",
    "front-proxy-ca.pem",
    "front-proxy-client.pem",
    "front-proxy-client-key.pem",
    "encryption-config.yaml",
)

FRONT_PROXY: dict[str, Flag] = {
    "requestheader-client-ca-file": f"{STATE}/front-proxy-ca.pem",
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-username-headers": "X-Remote-User",
}
"""Who may say on whose behalf a request is made: the front proxy, known by an authority of its own."""


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield the control plane on this controller."""
    del pki
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"):
        yield Binary(path=f"{BIN}/{name}", artifact=name)
    yield Directory(path=CONFIG)
    yield Directory(path=LOGS, mode=0o700)
    yield File(path=ADMISSION_CONFIG, content=_ADMISSION)
    yield File(path=AUDIT_POLICY, content=_AUDIT_POLICY)
    yield File(path=AUTHENTICATION, content=_AUTHENTICATION)
    yield File(path=SCHEDULER, content=_SCHEDULER)
    yield Unit(
        name="kube-apiserver.service",
        content=api_server_unit(node, cluster),
        inputs=(
            f"{BIN}/kube-apiserver",
            *(f"{STATE}/{name}" for name in API_SERVER_INPUTS),
            ADMISSION_CONFIG,
            AUDIT_POLICY,
            AUTHENTICATION,
        ),
        timeout=cluster.spec.timeouts.ready,
    )
    yield Unit(
        name="kube-controller-manager.service",
        content=controller_manager_unit(cluster),
        inputs=_inputs("kube-controller-manager", "ca-key.pem", "service-account-key.pem"),
    )
    yield Unit(
        name="kube-scheduler.service",
        content=scheduler_unit(),
        inputs=(*_inputs("kube-scheduler"), SCHEDULER),
    )
    yield Wait(
        name="kube-apiserver-ready",
        argv=(*KUBECTL, "get", "--raw=/readyz"),
        expect="ok",
        listens=cluster.network.api_port,
        health="/readyz",
        interval=0.2,
        timeout=cluster.spec.timeouts.ready,
        unit="kube-apiserver.service",
    )


def health(node: Node, cluster: Cluster) -> Health:
    """Say how API servers are asked whether they are ready: one other must be when this one is away."""
    others = [other for other in cluster.controllers if other.name != node.name]
    return Health(
        service="the API server",
        mine=_ready(node, cluster),
        others=tuple(_ready(other, cluster) for other in others),
        needed=min(1, len(others)),
    )


def _ready(node: Node, cluster: Cluster) -> tuple[str, ...]:
    server = f"--server=https://{node.internal_ip}:{cluster.network.api_port}"
    return (f"{BIN}/kubectl", f"--kubeconfig={ADMIN}", "--request-timeout=3s", server, "get", "--raw=/readyz")


KUBECTL = (f"{BIN}/kubectl", f"--kubeconfig={ADMIN}", "--request-timeout=5s")
"""kubectl on a controller, against its own API server."""


def rbac(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield what lets the API server reach the kubelets: logs, exec, metrics. Once a cluster."""
    del node, cluster, pki
    yield Manifest(name="kube-apiserver-to-kubelet", documents=_RBAC, kubeconfig=ADMIN)


def api_server_unit(node: Node, cluster: Cluster) -> str:
    """Return kube-apiserver.service."""
    return render(
        description="Kubernetes API Server",
        documentation=DOCUMENTATION,
        binary=f"{BIN}/kube-apiserver",
        flags=_api_server_flags(node, cluster),
        unit={"Wants": "network-online.target", "After": "network-online.target etcd.service"},
        service={"Type": "notify", "TimeoutStopSec": 30},
        sandbox={**STRICT, "ReadWritePaths": LOGS},
    )


def controller_manager_unit(cluster: Cluster) -> str:
    """Return kube-controller-manager.service."""
    return render(
        description="Kubernetes Controller Manager",
        documentation=DOCUMENTATION,
        binary=f"{BIN}/kube-controller-manager",
        flags=_controller_manager_flags(cluster),
        unit={"After": "network-online.target kube-apiserver.service"},
        sandbox=STRICT,
    )


def scheduler_unit() -> str:
    """Return kube-scheduler.service."""
    return render(
        description="Kubernetes Scheduler",
        documentation=DOCUMENTATION,
        binary=f"{BIN}/kube-scheduler",
        flags={"config": SCHEDULER, **_local_server("kube-scheduler"), "v": 2},
        unit={"After": "network-online.target kube-apiserver.service"},
        sandbox=STRICT,
    )


def _api_server_flags(node: Node, cluster: Cluster) -> dict[str, Flag]:
    network = cluster.network
    return {
        "admission-control-config-file": ADMISSION_CONFIG,
        "advertise-address": node.internal_ip,
        "allow-privileged": True,
        "audit-log-maxage": 30,
        "audit-log-maxbackup": 10,
        "audit-log-maxsize": 100,
        "audit-log-path": f"{LOGS}/audit.log",
        "audit-policy-file": AUDIT_POLICY,
        "authentication-config": AUTHENTICATION,
        "authorization-mode": "Node,RBAC",
        "bind-address": "0.0.0.0",  # noqa: S104 - the load balancer and the nodes reach it by its address
        "client-ca-file": f"{STATE}/ca.pem",
        "enable-admission-plugins": ADMISSION,
        # no kube-proxy runs on controllers: aggregated APIs are reached by their pods' addresses
        "enable-aggregator-routing": True,
        "encryption-provider-config": f"{STATE}/encryption-config.yaml",
        "etcd-cafile": f"{STATE}/etcd-ca.pem",
        "etcd-certfile": f"{STATE}/apiserver-etcd-client.pem",
        "etcd-keyfile": f"{STATE}/apiserver-etcd-client-key.pem",
        "etcd-servers": [f"https://{n.internal_ip}:2379" for n in cluster.etcd_members],
        "event-ttl": "1h",
        "kubelet-certificate-authority": f"{STATE}/ca.pem",
        "kubelet-client-certificate": f"{STATE}/apiserver-kubelet-client.pem",
        "kubelet-client-key": f"{STATE}/apiserver-kubelet-client-key.pem",
        "kubelet-preferred-address-types": "InternalIP,Hostname",
        "profiling": False,
        "proxy-client-cert-file": f"{STATE}/front-proxy-client.pem",
        "proxy-client-key-file": f"{STATE}/front-proxy-client-key.pem",
        **FRONT_PROXY,
        "secure-port": network.api_port,
        "service-account-extend-token-expiration": False,
        "service-account-issuer": cluster.api_url,
        "service-account-key-file": f"{STATE}/service-account.pem",
        "service-account-signing-key-file": f"{STATE}/service-account-key.pem",
        "service-cluster-ip-range": str(network.service_cidr),
        "service-node-port-range": network.node_ports,
        # without it, open watches hold a stopping API server for a minute
        "shutdown-watch-termination-grace-period": "5s",
        "tls-cert-file": f"{STATE}/kubernetes.pem",
        "tls-cipher-suites": CIPHER_SUITES,
        "tls-private-key-file": f"{STATE}/kubernetes-key.pem",
        "v": 2,
    }


ADMISSION = (
    "NamespaceLifecycle",
    "NodeRestriction",
    "LimitRanger",
    "ServiceAccount",
    "DefaultStorageClass",
    "ResourceQuota",
    "DenyServiceExternalIPs",
    "EventRateLimit",
)


def _controller_manager_flags(cluster: Cluster) -> dict[str, Flag]:
    return {
        # each worker has its pod CIDR from its machine (chapter 3): none is given out here
        "allocate-node-cidrs": False,
        "cluster-cidr": str(cluster.network.cluster_cidr),
        "cluster-name": "kubernetes",
        "cluster-signing-cert-file": f"{STATE}/ca.pem",
        "cluster-signing-key-file": f"{STATE}/ca-key.pem",
        # the leader asks for its controllers' accounts first: with 30, the default, none of them runs for 5 s
        "kube-api-burst": 200,
        "kubeconfig": f"{STATE}/kube-controller-manager.kubeconfig",
        "leader-elect": True,
        "profiling": False,
        "root-ca-file": f"{STATE}/ca.pem",
        "service-account-private-key-file": f"{STATE}/service-account-key.pem",
        "service-cluster-ip-range": str(cluster.network.service_cidr),
        "terminated-pod-gc-threshold": 1000,
        **_local_server("kube-controller-manager"),
        "use-service-account-credentials": True,
        "v": 2,
    }


def _local_server(component: str) -> dict[str, Flag]:
    """Return the flags of a server that only this controller reaches; who asks is judged by the API server."""
    return {
        "authentication-kubeconfig": f"{STATE}/{component}.kubeconfig",
        "authentication-skip-lookup": True,
        "authorization-kubeconfig": f"{STATE}/{component}.kubeconfig",
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{STATE}/ca.pem",
        **FRONT_PROXY,
        "tls-cert-file": f"{STATE}/{component}.pem",
        "tls-private-key-file": f"{STATE}/{component}-key.pem",
    }


def _inputs(component: str, *more: str) -> tuple[str, ...]:
    names = (
        "ca.pem",
        "front-proxy-ca.pem",
        f"{component}.pem",
        f"{component}-key.pem",
        f"{component}.kubeconfig",
        *more,
    )
    return (f"{BIN}/{component}", *(f"{STATE}/{name}" for name in names))


_SCHEDULER = f"""\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: {STATE}/kube-scheduler.kubeconfig
enableProfiling: false
leaderElection:
  leaderElect: true
"""

_AUTHENTICATION = """\
# Requests without credentials: for health alone, which the load balancer asks for.
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
    - path: /livez
    - path: /readyz
    - path: /healthz
"""

_ADMISSION = """\
# What a pod may ask for where its namespace says nothing else, and how many events may come.
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: EventRateLimit
    configuration:
      apiVersion: eventratelimit.admission.k8s.io/v1alpha1
      kind: Configuration
      limits:
        - type: Server
          qps: 500
          burst: 5000
  - name: PodSecurity
    configuration:
      apiVersion: pod-security.admission.config.k8s.io/v1
      kind: PodSecurityConfiguration
      defaults:
        enforce: baseline
        enforce-version: latest
        audit: restricted
        audit-version: latest
      exemptions:
        namespaces: [kube-system]
"""

_AUDIT_POLICY = """\
# Who did what, without what was in it: no request or response body reaches the log.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages:
  - RequestReceived
rules:
  - level: None
    nonResourceURLs: ["/livez*", "/readyz*", "/healthz*", "/version"]
  - level: None
    resources:
      - group: coordination.k8s.io
        resources: [leases]
  - level: None
    verbs: [get, list, watch]
    userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
    resources:
      - group: ""
        resources: [endpoints, services, nodes, nodes/status, pods, pods/status]
      - group: discovery.k8s.io
        resources: [endpointslices]
  - level: Metadata
"""

_RBAC = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  annotations:
    rbac.authorization.kubernetes.io/autoupdate: "true"
  labels:
    kubernetes.io/bootstrapping: rbac-defaults
  name: system:kube-apiserver-to-kubelet
rules:
  - apiGroups:
      - ""
    resources:
      - nodes/proxy
      - nodes/stats
      - nodes/log
      - nodes/spec
      - nodes/metrics
    verbs:
      - "*"
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:kube-apiserver
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:kube-apiserver-to-kubelet
subjects:
  - apiGroup: rbac.authorization.k8s.io
    kind: User
    name: kubernetes
"""
