"""The cluster file that `khw init` writes: every key, with its default and what it is for."""

from __future__ import annotations

from khw.cluster.schema import MODELINE

LAB_PROJECT = "khw-default"
LAB_ENDPOINT = "http://127.240.0.2:8471"

_GOOGLE = """\
# A project of Google Cloud. khw logs in with your application default credentials
# (`gcloud auth application-default login`) and makes machines that cost money until `khw destroy`.
"""

_LAB = """\
# A project of Google Cloud: here the lab's, emulated on this machine (`khw lab up`). It costs nothing.
# For Google itself: your project's id, and no endpoint and credentials; khw then logs in with your
# application default credentials (`gcloud auth application-default login`).
"""

_REST = """\

# Chapters 3, 8 and 9: the network and the ranges. They must not overlap.
network:
  name: kubernetes-the-hard-way
  subnet: kubernetes
  subnet_cidr: 10.240.0.0/24
  cluster_cidr: 10.200.0.0/16       # each worker gets a /24 of it for its pods
  service_cidr: 10.32.0.0/24        # the first address is the API's, the tenth is DNS's
  # Who may reach SSH, the API and NodePorts from outside. If nothing is said, this machine's own address alone, where
  # that can be known (not behind address translation). [0.0.0.0/0] is the world, as in the guide.
  # source_ranges: [203.0.113.7/32]
  # api_port: 6443
  # node_ports: 30000-32767
  # dns_domain: cluster.local

# Chapter 3: the machines. Controllers are an odd number, because etcd is on them and needs a majority.
# Names and addresses are counted up (controller-0 at first_address, …),
# unless `names` and `addresses` list them.
controllers:
  count: 3
  first_address: 10.240.0.10
  # name: controller
  # names: [controller-0, controller-1, controller-2]
  # addresses: [10.240.0.10, 10.240.0.11, 10.240.0.12]
  # machine_type: e2-standard-2
  # disk_gb: 200
  # image: projects/debian-cloud/global/images/family/debian-12
  # images: [projects/debian-cloud/global/images/family/debian-12]   # machine by machine, if not all are `image`
workers:
  count: 3
  first_address: 10.240.0.20
  # name, names, addresses, machine_type, disk_gb, image, images: as for controllers
# Machines for etcd alone, an odd number of them (say 3); without any, etcd is on the controllers.
# etcd:
#   count: 0
#   first_address: 10.240.0.30
#   # name, names, addresses, machine_type, disk_gb, image, images: as for controllers

# Chapter 6: secrets at rest: aescbc (as in the guide) or secretbox.
# encryption:
#   provider: aescbc

# Chapter 9: kube-proxy: iptables (as in the guide) or nftables.
# proxy:
#   mode: iptables

# How khw logs in. It makes an SSH key of its own unless one is named.
# ssh:
#   user: khw
#   private_key: ~/.ssh/id_ed25519
#   config: ~/.ssh/config           # machines of your own: HostName, Port, User, IdentityFile, ProxyJump count
#   bastion: you@bastion.example    # … are reached through it, as by ssh -J
#   sudo: free                      # or password: asked at the terminal, or $KHW_SUDO_PASSWORD; kept nowhere

# Where binaries and images come from, in this order. `mirror` is a directory or a URL.
# `relay`: each is sent once, and passed on from node to node inside their own network: `auto` does that where the
# nodes are 10 ms and more of round trip away; always, never.
# artifacts:
#   sources: [cache, upstream, build]
#   mirror: /srv/khw-mirror
#   relay: auto

# Limits in seconds; nothing waits without one.
# timeouts:
#   connect: 20     # an SSH login, tried again until then; the agent's first word
#   boot: 180       # a new machine, until it has published its SSH host keys
#   command: 120    # a command on a node, a service's start, a call of kubectl
#   install: 300    # a package or an image on a node
#   ready: 180      # a condition: etcd healthy, the API server ready, a worker Ready
#   cloud: 300      # an operation in the cloud

# Machines of your own instead of a cloud's: `provider: static`, and
# static:
#   api_address: 192.0.2.100        # where the API is reached
#   balancer: own                   # or haproxy: with keepalived on the controllers, which share api_address
#   balancer_port: 8443             # haproxy's
#   routes: nodes                   # each machine has the routes to the others' pods; own: your router has them
#   hosts_file: hosts.yaml          # Nornir's, with groups controllers and workers, instead of
#   nodes:
#     - name: controller-0
#       role: controller
#       address: 192.0.2.10
#       host: controller-0.example  # where SSH reaches it, if not at its address
#       port: 22
#       user: debian
#       host_keys: [ssh-ed25519 AAAA…]
#     - name: worker-0
#       role: worker
#       address: 192.0.2.20
#       pod_cidr: 10.200.0.0/24
#       host_keys: [ssh-ed25519 AAAA…]
"""


def template(*, project: str | None = None, endpoint: str | None = None, name: str = "kubernetes-the-hard-way") -> str:
    """Return a cluster file: for the default lab, a lab's `project` at its `endpoint`, or Google's `project`."""
    if project is None:
        project, endpoint = LAB_PROJECT, endpoint or LAB_ENDPOINT
    rows = [
        MODELINE,
        "# The cluster, as khw makes it. All keys but the project have defaults; commented ones show theirs.",
        f"name: {name}",
        "",
        "provider: gcp",
        (_LAB if endpoint else _GOOGLE).rstrip("\n"),
        "gcp:",
        f"  project: {project}",
        "  region: us-west1",
        "  zone: us-west1-c",
        "  # zones: [us-west1-a, us-west1-b, us-west1-c]   # spread over these instead, in turn",
        "  # private_nodes: true   # no external addresses: in through a bastion, out by Cloud NAT",
    ]
    if endpoint:
        rows += [f"  endpoint: {endpoint}", "  credentials: anonymous"]
    rows += [
        "  # impersonate: khw@my-project.iam.gserviceaccount.com   # act as this service account",
        "  # quota_project: my-project   # whose quota requests count against",
    ]
    return "\n".join(rows) + "\n" + _REST
