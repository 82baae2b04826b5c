"""Chapter 12: CoreDNS, two replicas, behind the Service kube-dns."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from khw.artifacts import lock
from khw.converge.resources import Manifest, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

KUBECONFIG = "/var/lib/kubernetes/admin.kubeconfig"
REPLICAS = 2


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield CoreDNS (chapter 12), once a cluster, from any controller."""
    yield Manifest(name="coredns", documents=manifest(cluster), kubeconfig=KUBECONFIG)
    kubectl = ("/usr/local/bin/kubectl", f"--kubeconfig={KUBECONFIG}")
    rollout = ("--namespace=kube-system", "rollout", "status", "deployment/coredns")
    yield Wait(
        name="coredns-ready",
        argv=(*kubectl, "--request-timeout=5s", *rollout, "--watch=false"),
        watch=(*kubectl, *rollout),
        expect='deployment "coredns" successfully rolled out',
        timeout=cluster.spec.timeouts.ready,
    )


def manifest(cluster: Cluster) -> str:
    """Return every object of chapter 12."""
    image = lock.entry("image-coredns").reference
    parts = (
        ACCOUNT,
        config_map(cluster),
        DEPLOYMENT.format(image=image, replicas=REPLICAS),
        service(cluster),
    )
    return "---\n".join(parts)


def corefile(cluster: Cluster) -> str:
    """
    Return the Corefile: the cluster's names from the API, every other name from the node's own resolver.

    The pods' resolver is the kubelet's resolvConf (dnsPolicy Default), which chapter 9 keeps off loopback
    addresses; `loop` is there for the day that someone changes that.
    """
    domain = cluster.network.dns_domain
    return f"""\
.:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
        max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
"""


def config_map(cluster: Cluster) -> str:
    """Return the ConfigMap that holds the Corefile."""
    return f"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: coredns
  namespace: kube-system
data:
  Corefile: |
{indent(corefile(cluster), "    ")}"""


def service(cluster: Cluster) -> str:
    """Return the Service kube-dns at the address that every kubelet gives its pods."""
    return SERVICE.format(address=cluster.network.dns_address)


ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: coredns
  namespace: kube-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:coredns
rules:
  - apiGroups: [""]
    resources: [endpoints, services, pods, namespaces]
    verbs: [list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:coredns
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:coredns
subjects:
  - kind: ServiceAccount
    name: coredns
    namespace: kube-system
"""

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: coredns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
spec:
  replicas: {replicas}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
  selector:
    matchLabels:
      k8s-app: kube-dns
  template:
    metadata:
      labels:
        k8s-app: kube-dns
    spec:
      priorityClassName: system-cluster-critical
      serviceAccountName: coredns
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    k8s-app: kube-dns
      tolerations:
        - key: CriticalAddonsOnly
          operator: Exists
      nodeSelector:
        kubernetes.io/os: linux
      dnsPolicy: Default
      containers:
        - name: coredns
          image: {image}
          imagePullPolicy: IfNotPresent
          args: [-conf, /etc/coredns/Corefile]
          resources:
            limits:
              memory: 170Mi
            requests:
              cpu: 100m
              memory: 70Mi
          ports:
            - name: dns
              containerPort: 53
              protocol: UDP
            - name: dns-tcp
              containerPort: 53
              protocol: TCP
            - name: metrics
              containerPort: 9153
              protocol: TCP
          livenessProbe:
            httpGet:
              path: /health
              port: 8080
            initialDelaySeconds: 60
            timeoutSeconds: 5
            failureThreshold: 5
          readinessProbe:
            httpGet:
              path: /ready
              port: 8181
            periodSeconds: 1
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              add: [NET_BIND_SERVICE]
              drop: [ALL]
          volumeMounts:
            - name: config
              mountPath: /etc/coredns
              readOnly: true
      volumes:
        - name: config
          configMap:
            name: coredns
            items:
              - key: Corefile
                path: Corefile
"""

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
    kubernetes.io/cluster-service: "true"
    kubernetes.io/name: CoreDNS
  annotations:
    prometheus.io/port: "9153"
    prometheus.io/scrape: "true"
spec:
  clusterIP: {address}
  selector:
    k8s-app: kube-dns
  ports:
    - name: dns
      port: 53
      protocol: UDP
    - name: dns-tcp
      port: 53
      protocol: TCP
    - name: metrics
      port: 9153
      protocol: TCP
"""
