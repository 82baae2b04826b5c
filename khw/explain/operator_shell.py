"""
What is done by hand on the operator's machine, phase by phase: the project, certificates, kubectl, the smoke test.

Everything is kept where khw keeps it (`$KHW_HOME`, by default .khw/CLUSTER), under the same names, so that khw takes
over a cluster that was made by hand, and `khw verify` judges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.artifacts import lock
from khw.certs import encryption
from khw.cluster.model import NOT_KNOWN_YET
from khw.explain import cloud_shell, openssl, symbols
from khw.explain.shell import heredoc, joined, quoted
from khw.inventory.gcp import balancer as gcp_balancer
from khw.inventory.gcp import compute as gcp_compute
from khw.inventory.gcp import routes as gcp_routes
from khw.inventory.gcp.zones import zones_of
from khw.tasks.etcd import ETCDCTL
from khw.tasks.kubeconfigs import remote_admin
from khw.verify.bench import ECHO, PORT, manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from khw.cluster.model import Node
    from khw.explain.guide import Guide
    from khw.inventory.gcp.wanted import Wanted

TOOLS = ("curl", "openssl", "ssh", "ssh-keygen", "tar", "base64", "sha256sum", "python3")
NAMESPACE = "khw-by-hand"
OWN_MACHINES = "# The machines are your own: your network, your load balancer and your router are made your way."


def of(guide: Guide, phase: str) -> str:
    """Return the lines of a phase on the operator's machine, or ''."""
    step = STEPS.get(phase)
    return step(guide) if step else ""


def remote(nodes: Sequence[Node]) -> str:
    """Return the shell functions that reach the nodes: `on NODE COMMAND` and `copy NODE FILE…`."""
    cases = "\n".join(
        f'    {node.name}) set -- {_through(node)}-p {node.ssh_port} {node.ssh_user}@{node.ssh_host} "$@" ;;'
        for node in nodes
    )
    return f"""\
on() {{  # NODE COMMAND…: with the cluster's own key, and no host key that the provider has not published
  name=$1
  shift
  case $name in
{cases}
  esac
  ssh -i "$KHW_SSH_KEY" -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o LogLevel=ERROR \\
    -o UserKnownHostsFile="$KHW_HOME/known_hosts" "$@"
}}

copy() {{  # NODE FILE…: from here to the node's {FILES} directory, which only its owner may read
  name=$1
  shift
  tar -C "$KHW_HOME" -cf - "$@" | on "$name" 'mkdir -p {FILES} && chmod 700 {FILES} && tar -C {FILES} -xf -'
}}"""


def _through(node: Node) -> str:
    """Return ssh's option for the way through a bastion that khw made; '' where there is none."""
    if not node.jump_keys:
        return ""
    way = "ssh -i $KHW_SSH_KEY -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
    return f'-o "ProxyCommand={way} -o UserKnownHostsFile=$KHW_HOME/known_hosts -W %h:%p {node.ssh_jump}" '


FILES = "khw-files"
"""Under the login's home on a node: what the operator copies there."""


def _prerequisites(guide: Guide) -> str:
    looks = f"""\
for tool in {" ".join(TOOLS)}; do
  command -v "$tool" >/dev/null || {{ echo "$tool is missing" >&2; exit 1; }}
done
mkdir -p -m 700 "$KHW_HOME\""""
    if guide.api is None:
        return looks
    gcp = guide.api.gcp
    if guide.in_lab:
        where = f"{gcp.endpoint}/compute/v1/projects/{gcp.project}"
        return f"{looks}\ncurl -fsS {where}/zones/{gcp.places[0]} >/dev/null && echo 'the project answers'"
    flags = joined((gcp.places[0], f"--project={gcp.project}", "--format=value(status)"))
    return f"{looks}\ngcloud compute zones describe {flags}"


def _tools(guide: Guide) -> str:
    rows = [_artifact(guide, name) for name in guide.store.lock.entries]
    return "\n".join(
        (
            """\
mkdir -p "$KHW_HOME/artifacts" "$KHW_HOME/bin"

artifact() {  # NAME SHA256 CACHED URL MEMBER: from $KHW_ARTIFACTS, or khw's cache, or where the project publishes it
  target=$KHW_HOME/artifacts/$1
  if [ ! -f "$target" ]; then
    if [ -n "${KHW_ARTIFACTS:-}" ] && [ -f "$KHW_ARTIFACTS/$1" ]; then cp "$KHW_ARTIFACTS/$1" "$target"
    elif [ -f "$3" ]; then cp "$3" "$target"
    elif [ -n "$5" ]; then curl -fsSL "$4" | tar -xzO "$5" >"$target"
    else curl -fsSLo "$target" "$4"
    fi
  fi
  [ -z "$2" ] || echo "$2  $target" | sha256sum --check --quiet
}
""",
            *rows,
            'install -m 0755 "$KHW_HOME/artifacts/kubectl" "$KHW_HOME/bin/kubectl"',
        )
    )


def _artifact(guide: Guide, name: str) -> str:
    release = lock.entry(name).release("amd64")
    cached = guide.store.cached(name)
    path = str(cached.path) if cached else ""
    return f"artifact {joined((name, cached.sha256 if cached else '', path, release.url, release.member))}"


def _compute(guide: Guide) -> str:
    if guide.api is None:
        return OWN_MACHINES
    rows = gcp_compute.wanted(guide.cluster.spec, guide.api, symbols.SSH_KEY)
    key = """\
[ -f "$KHW_SSH_KEY" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$KHW_SSH_KEY"
public_key=$(ssh-keygen -y -f "$KHW_SSH_KEY" | cut -d ' ' -f 1,2)
"""
    return "\n".join((key, _made(guide, rows), "", _host_keys(guide)))


def _made(guide: Guide, rows: Iterable[Wanted], members: Sequence[Node] = ()) -> str:
    if guide.api is None:
        return OWN_MACHINES
    form = cloud_shell.in_lab if guide.in_lab else cloud_shell.on_google
    return form(guide.api, rows, members)


def _host_keys(guide: Guide) -> str:
    """Return the wait for every machine's host keys, which it publishes itself as guest attributes."""
    spec = guide.cluster.spec
    machines = " ".join(f"{zone}/{name}" for name, zone in (zones_of(spec, spec.gcp) if spec.gcp else {}).items())
    if guide.in_lab:
        asked = 'curl -fsS "$api/zones/$1/instances/$2{}"'
        keys = asked.format("/getGuestAttributes?queryPath=hostkeys/") + " 2>/dev/null"
        address = asked.format("")
    else:
        zone = '--zone="$1" --format=json'
        keys = f'gcloud compute instances get-guest-attributes "$2" --query-path=hostkeys/ {zone} 2>/dev/null'
        address = f'gcloud compute instances describe "$2" {zone}'
    return f"""\
host_keys() {{  # ZONE NAME: its lines for known_hosts, once it has booted and published them
  address=$({address} | python3 -c '
import json, sys
card = json.load(sys.stdin)["networkInterfaces"][0]
print(card["accessConfigs"][0]["natIP"] if card.get("accessConfigs") else card["networkIP"])')
  until {keys} | python3 -c '
import json, sys
said = json.load(sys.stdin)
rows = said["queryValue"]["items"] if isinstance(said, dict) else said
for row in rows:
    print(sys.argv[1], row["key"], row["value"])' "$address" 2>/dev/null; do sleep 1; done
}}

for machine in {machines}; do host_keys "${{machine%/*}}" "${{machine#*/}}"; done >"$KHW_HOME/known_hosts\""""


def _certificates(guide: Guide) -> str:
    head = ""
    if guide.cluster.api_address == NOT_KNOWN_YET:
        head = "# The API's address is not known before chapter 3: print this again then.\n"
    return head + openssl.everything(guide.cluster)


def _encryption(_guide: Guide) -> str:
    return f"""\
key="$KHW_HOME/pki/{symbols.ENCRYPTION_KEY}"
[ -f "$key" ] || ( umask 077; head -c 32 /dev/urandom | base64 >"$key" )"""


def _load_balancer(guide: Guide) -> str:
    if guide.api is None:
        return OWN_MACHINES
    return _made(guide, gcp_balancer.wanted(guide.api, guide.cluster), guide.cluster.controllers)


def _routes(guide: Guide) -> str:
    return OWN_MACHINES if guide.api is None else _made(guide, gcp_routes.wanted(guide.api, guide.cluster))


KUBECTL = """\
kubectl() { "$KHW_HOME/bin/kubectl" --kubeconfig "$KHW_HOME/kubeconfig" "$@"; }"""


def _kubectl(guide: Guide) -> str:
    text = symbols.text_of(remote_admin(guide.cluster, symbols.pki(guide.cluster)))
    for token, name in symbols.embedded(text).items():
        text = text.replace(token, f'$(base64 -w 0 "$KHW_HOME/pki/{name}")')
    written = f'( umask 077; cat >"$KHW_HOME/kubeconfig" {heredoc(text, expands=True)}\n)'
    return f"{KUBECTL}\n\n{written}\nkubectl get nodes -o wide"


def _smoke(guide: Guide) -> str:
    cluster = guide.cluster
    first = cluster.controllers[0].name
    etcdctl = joined(("sudo", *ETCDCTL, "get", f"/registry/secrets/{NAMESPACE}/kubernetes-the-hard-way"))
    stored = f"k8s:enc:{cluster.spec.encryption.provider}:v1:{encryption.KEY_NAME}:"
    reached = " ".join(node.external_ip or node.internal_ip for node in cluster.workers)
    private = any(node.jump_keys for node in cluster.nodes)  # then nobody outside reaches a NodePort
    asked_from, asking = ("a node", f"on {first} curl") if private else ("here", "curl")
    nodes = " ".join(node.name for node in cluster.nodes)
    agnhost = quoted(lock.entry("image-agnhost").reference)
    return f"""\
{KUBECTL}
here() {{ kubectl --namespace {NAMESPACE} "$@"; }}
trap 'kubectl delete namespace {NAMESPACE} --wait=false' EXIT

kubectl apply -f - {heredoc(manifest(NAMESPACE))}
here rollout status daemonset/{ECHO} --timeout=120s

echo 'Encryption at rest: what etcd keeps of a Secret begins with its provider and key.'
here create secret generic kubernetes-the-hard-way --from-literal=mykey=mydata
on {first} {quoted(etcdctl)} | grep -a -o '{stored}'

echo 'Logs, exec, names, Services, and every pod from every pod.'
addresses=$(here get pods -l app={ECHO} -o 'jsonpath={{.items[*].status.podIP}}')
for pod in $(here get pods -l app={ECHO} -o name); do
  here logs "$pod" >/dev/null
  here exec "$pod" -- /agnhost connect kubernetes.default:443 --timeout=5s
  for address in $addresses; do here exec "$pod" -- /agnhost connect "$address:{PORT}" --timeout=5s; done
done

echo 'A NodePort, from {asked_from}.'
port=$(here get service {ECHO} -o 'jsonpath={{.spec.ports[0].nodePort}}')
for address in {reached}; do
  {asking} -fsS --noproxy '*' --retry 5 --retry-all-errors "http://$address:$port/hostname"
  echo
done

echo 'A deployment.'
here create deployment nginx --image={agnhost} --replicas={len(cluster.workers)} -- /agnhost netexec
here rollout status deployment/nginx --timeout=60s

echo 'The copies on the nodes are not needed any more.'
for node in {nodes}; do on "$node" rm -rf {FILES}; done"""


STEPS: dict[str, Callable[[Guide], str]] = {
    "prerequisites": _prerequisites,
    "tools": _tools,
    "compute": _compute,
    "certificates": _certificates,
    "encryption": _encryption,
    "load-balancer": _load_balancer,
    "kubectl": _kubectl,
    "routes": _routes,
    "smoke": _smoke,
}
