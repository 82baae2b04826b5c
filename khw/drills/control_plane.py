"""What is broken in the control plane, and in the objects that it keeps (chapters 6, 8 and 12)."""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

from khw.certs.encryption import KEY_NAME, render
from khw.drills.drill import Cause, Drill
from khw.files import write_private
from khw.secret import Secret

if TYPE_CHECKING:
    from khw.drills.drill import Values
    from khw.drills.ground import Ground

CONFIG = "/var/lib/kubernetes/encryption-config.yaml"
NEW_KEY = "key2"
PAYROLL = "payroll-db"
LOCAL = "kubectl --kubeconfig=/var/lib/kubernetes/admin.kubeconfig --request-timeout=10s"
ETCDCTL = "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.pem --cert=/etc/etcd/kubernetes.pem --key=/etc/etcd/kubernetes-key.pem"  # noqa: E501 - one command
RESTART = (
    "systemctl restart kube-apiserver;"
    f" for i in $(seq 120); do {LOCAL} get --raw=/readyz >/dev/null 2>&1 && break; sleep 0.5; done"
)
REWRITE = f"{LOCAL} get secrets --all-namespaces --output=json | {LOCAL} replace --filename=-"
SCHEDULER = "/etc/kubernetes/config/kube-scheduler.yaml"
WEBHOOK = "image-policy.example.com"
BINDING = "system:kube-apiserver"


def _key(ground: Ground) -> Secret:
    """Return the drill's own key, made at first use: without it, what it encrypted could not be read again."""
    file = ground.folder / "encryption-key"
    if not file.exists():
        ground.folder.mkdir(mode=0o700, exist_ok=True)
        write_private(file, token_bytes(32))
    return Secret(file.read_bytes())


def _config(ground: Ground, *, first: str) -> Secret:
    """Return the configuration with both keys: `first` writes, both read."""
    keys = {KEY_NAME: ground.pki.encryption_key, NEW_KEY: _key(ground)}
    order = sorted(keys, key=lambda name: name != first)
    return render(ground.cluster.spec.encryption.provider, {name: keys[name] for name in order})


def _rotate_halfway(ground: Ground, values: Values) -> None:
    """Give a new key to all API servers but the last, and write a Secret with it."""
    config = _config(ground, first=NEW_KEY)
    for node in ground.cluster.controllers[:-1]:
        ground.put(node.name, CONFIG, config, mode=0o600)
        ground.sh(node.name, RESTART, timeout=90.0)
    ground.sh(
        values["controller"],
        f"{LOCAL} get secret {PAYROLL} >/dev/null 2>&1"
        f" || {LOCAL} create secret generic {PAYROLL} --from-literal=user=payroll",
    )


def _mend_keys(ground: Ground, values: Values) -> None:
    """Have every API server read both keys and write with khw's; rewrite all; drop what nobody can read any more."""
    nodes = ground.within_reach(ground.cluster.controllers)
    config = _config(ground, first=KEY_NAME)
    for node in nodes:
        ground.put(node.name, CONFIG, config, mode=0o600)
        ground.tried(node.name, RESTART, timeout=90.0)
    for node in nodes[:1]:
        ground.tried(node.name, f"{LOCAL} delete secret {PAYROLL} --ignore-not-found; {REWRITE}", timeout=90.0)
        ground.tried(node.name, _drop_unreadable(values["provider"]), timeout=90.0)


def _drop_unreadable(provider: str) -> str:
    """Return what deletes the Secrets that are still not written with khw's key, after all were rewritten."""
    mine = f"k8s:enc:{provider}:v1:{KEY_NAME}:"
    return (
        f"for key in $({ETCDCTL} get /registry/secrets/ --prefix --keys-only); do"
        f" {ETCDCTL} get $key --print-value-only | head -c {len(mine)} | grep -qaF {mine} || {ETCDCTL} del $key; done"
    )


ENCRYPTION = Drill(
    name="encryption-key",
    title="an encryption key that one API server does not have",
    chapter=6,
    controllers=2,
    stacked=True,
    story="""
The payroll job runs every minute and fails about every third time: it cannot read its password. "Internal error
occurred", and the next minute it is fine again. Its Secret, {payroll}, is there, I can see it. Well, mostly. The new
colleague started with the key rotation yesterday, got called away in the middle, and says that he had "hardly begun".
""",
    hints=(
        "Every third time, and there are several API servers behind one address: ask each one by itself. On each of"
        " {each_controller}: `sudo kubectl --kubeconfig /var/lib/kubernetes/admin.kubeconfig get secret {payroll}`.",
        "The one that fails says why: it has no key for what it read. Secrets in etcd begin with the name of the key"
        " that they were written with: `khw ssh {controller} '{etcdctl} get /registry/secrets/default/{payroll}"
        " --print-value-only | head -c 30'`.",
        "Compare the names of the keys in {config} on the controllers (not the keys; nobody should see them):"
        " `sudo grep name: {config}`. The order counts: the first one writes, all of them read.",
        "Do not take the new key away from those that have it: what it wrote could never be read again. First every"
        " API server must know both keys. So the rotation goes on where it stopped: the file goes to {last} too.",
    ),
    repair=(
        "khw ssh {controller} sudo cat {config} | khw ssh {last} 'sudo tee {config} >/dev/null &&"
        " sudo systemctl restart kube-apiserver'",
        "khw ssh {last} 'sudo kubectl --kubeconfig /var/lib/kubernetes/admin.kubeconfig get secret {payroll}'",
    ),
    cause=Cause(id="file:{config}", node="{controller}"),
    proof=("encryption at rest",),
    find=lambda _ground: {"payroll": PAYROLL, "config": CONFIG},
    make=_rotate_halfway,
    mend=_mend_keys,
)


def _mislead_scheduler(ground: Ground, values: Values) -> None:
    for node in ground.cluster.controllers:
        ground.sh(
            node.name,
            f"sed -i 's#kubernetes/kube-scheduler.kubeconfig#kubernetes/scheduler.conf#' {SCHEDULER}"
            " && systemctl restart --no-block kube-scheduler",
        )


SCHEDULING = Drill(
    name="scheduler",
    title="schedulers that do not find their kubeconfig",
    chapter=8,
    story="""
I can create what I like, nothing starts. Deployments exist, their ReplicaSets exist, their pods exist, and all of them
are Pending. No events, no error, the nodes are Ready and idle. What ran before the maintenance window still runs. In
the window, we "aligned the paths of the configuration files with those of the other clusters".
""",
    hints=(
        "A pod that is Pending without a single event was looked at by nobody. Who looks at pods that have no node yet?"
        " `kubectl get pods -A --field-selector=spec.nodeName=`.",
        "Who leads? `kubectl -n kube-system get lease kube-scheduler`: look at its renewTime. Then at the unit, on any"
        " controller: `khw ssh {controller} sudo journalctl -u kube-scheduler -n 10`.",
        "It says which file it does not find. The path is in {scheduler}, on every controller; the file that is there"
        " is /var/lib/kubernetes/kube-scheduler.kubeconfig.",
    ),
    repair=(
        "for node in {controllers}; do khw ssh $node 'sudo sed -i"
        " s#kubernetes/scheduler.conf#kubernetes/kube-scheduler.kubeconfig# {scheduler} &&"
        " sudo systemctl restart kube-scheduler'; done",
    ),
    cause=Cause(id="file:{scheduler}", node="{controller}"),
    proof=("healthz", "lease", "deployment"),
    find=lambda _ground: {"scheduler": SCHEDULER},
    make=_mislead_scheduler,
)


def _unbind(ground: Ground, values: Values) -> None:
    """Take the right away, and what kubelets remember of it: they ask only every five minutes."""
    ground.kubectl.run("delete", "clusterrolebinding", BINDING, "--ignore-not-found")
    for node in ground.cluster.workers:
        ground.sh(node.name, "systemctl restart kubelet")


RBAC = Drill(
    name="rbac",
    title="an API server without rights",
    chapter=8,
    story="""
`kubectl logs` says Forbidden, `kubectl exec` says Forbidden, port-forward too. For everyone, on every pod, and I am
cluster-admin! Everything else works. A user named "kubernetes" is in the message, whoever that is; the audit last week
found that nobody here has that name, and removed what it had.
""",
    hints=(
        "You are allowed to; the message is not about you. Read which user is Forbidden to do what:"
        " `kubectl logs -n kube-system -l k8s-app=kube-dns`.",
        "For logs and exec the API server connects to the kubelet, with a certificate of its own, and the kubelet asks"
        " the API whether that user may. CN=kubernetes is the API server itself.",
        "Chapter 8 gives it that right: ClusterRole system:kube-apiserver-to-kubelet, and a binding to User kubernetes."
        " Which of the two is left? `kubectl get clusterrole,clusterrolebinding | grep kube-apiserver`.",
    ),
    repair=(
        "kubectl create clusterrolebinding system:kube-apiserver"
        " --clusterrole=system:kube-apiserver-to-kubelet --user=kubernetes",
    ),
    cause=Cause(id="rbac"),
    proof=("RBAC", "logs", "exec"),
    make=_unbind,
)


def _guard_pods(ground: Ground, values: Values) -> None:
    ground.kubectl.run("apply", "--filename=-", stdin=_WEBHOOK)


def _mend_webhook(ground: Ground, values: Values) -> None:
    for node in ground.within_reach(ground.cluster.controllers)[:1]:
        ground.tried(node.name, f"{LOCAL} delete validatingwebhookconfiguration {WEBHOOK} --ignore-not-found")


_WEBHOOK = f"""\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: {WEBHOOK}
webhooks:
  - name: {WEBHOOK}
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    timeoutSeconds: 3
    clientConfig:
      service:
        name: image-policy
        namespace: default
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
"""

ADMISSION = Drill(
    name="webhook",
    title="a webhook that nobody answers",
    chapter=8,
    story="""
A deployment that I scaled up stays at its old size. There are no new pods at all: not Pending, not failing, just none.
I deleted one of the old ones to see what happens, and it was not replaced either. kube-controller-manager runs, the
scheduler runs, all nodes are Ready with room to spare. The trial of that image policy product ended on Friday, but we
have uninstalled it properly: its namespace and all.
""",
    hints=(
        "Who should have made the pods? A ReplicaSet's controller. It tells what stopped it: `kubectl get events -A"
        " --field-selector=reason=FailedCreate`, or describe the ReplicaSet.",
        "Make a pod yourself and read the answer: `kubectl run probe --image=registry.k8s.io/pause:3.10"
        " --dry-run=server`.",
        "The API server asks somebody else before it accepts a pod, and nobody is there. `kubectl get"
        " validatingwebhookconfigurations,mutatingwebhookconfigurations`: these belong to no namespace, and stay when"
        " one goes.",
    ),
    repair=("kubectl delete validatingwebhookconfiguration {webhook}",),
    cause=Cause(id="admission:{webhook}"),
    proof=("test pod", "deployment"),
    find=lambda _ground: {"webhook": WEBHOOK},
    make=_guard_pods,
    mend=_mend_webhook,
)


def _rename_domain(ground: Ground, values: Values) -> None:
    """Have CoreDNS answer for another domain, in its Corefile."""
    config = ground.kubectl.json("get", "configmap", "coredns", "--namespace=kube-system")
    wrong = f"kubernetes {FOREIGN_DOMAIN} "
    text = config["data"]["Corefile"].replace(f"kubernetes {values['domain']} ", wrong)
    ground.kubectl.run(
        "patch", "configmap", "coredns", "--namespace=kube-system", "--type=merge", "--patch-file=/dev/stdin",
        stdin=_patch(text),
    )  # fmt: skip
    _restart_dns(ground)


def _restart_dns(ground: Ground) -> None:
    ground.kubectl.run("rollout", "restart", "deployment/coredns", "--namespace=kube-system")
    ground.kubectl.run(
        "rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=60s", timeout=70.0
    )


def _patch(corefile: str) -> str:
    import json

    return json.dumps({"data": {"Corefile": corefile}})


def _mend_dns(ground: Ground, values: Values) -> None:
    """Have CoreDNS read its Corefile again, which a run writes a moment later."""
    for node in ground.within_reach(ground.cluster.controllers)[:1]:
        ground.tried(
            node.name,
            f"{LOCAL} --namespace=kube-system get configmap coredns --output=yaml"
            f" | sed 's/kubernetes {FOREIGN_DOMAIN} /kubernetes {values['domain']} /' | {LOCAL} apply --server-side"
            f" --force-conflicts --field-manager=khw --filename=- ;"
            f" {LOCAL} --namespace=kube-system rollout restart deployment/coredns",
        )


FOREIGN_DOMAIN = "cluster.internal"

NAMES = Drill(
    name="dns-domain",
    title="CoreDNS answers for another domain",
    chapter=12,
    story="""
Every service in the cluster has lost every other one: "no such host", in all logs at once, since DNS was "brought in
line with the company's naming scheme". Addresses still work. Names on the intranet still work. CoreDNS is up, two of
two, ready, and its log is clean.
""",
    hints=(
        "What exactly do the pods ask for? Look into one: its /etc/resolv.conf has the search list that the kubelet"
        " wrote, ending in {domain}.",
        "So they ask for names under {domain}. Does CoreDNS answer for it? `kubectl -n kube-system get configmap"
        " coredns -o yaml`: look at the line that begins with `kubernetes`.",
        "The domain in the Corefile and clusterDomain of the kubelets must be the same one, and changing the kubelets'"
        " means every pod. It is the Corefile that has to go back; CoreDNS reads it again within a minute or two, or"
        " at once when its pods are restarted.",
    ),
    repair=(
        "khw run --phase dns",
        "kubectl -n kube-system rollout restart deployment/coredns",
        "kubectl -n kube-system rollout status deployment/coredns --timeout=90s",
    ),
    cause=Cause(id="coredns"),
    proof=("DNS",),
    make=_rename_domain,
    mend=_mend_dns,
)

DRILLS = (ENCRYPTION, SCHEDULING, RBAC, ADMISSION, NAMES)
