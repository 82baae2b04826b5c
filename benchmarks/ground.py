"""
The ground that all contestants stand on: a lab of its own with six machines, and who they are, as each tool reads it.

All that a measurement makes is under build/bench: the cluster file, the inventories, the tree of files, the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from khw.files import write_atomically
from khw.inventory.keys import login_key
from khw.inventory.plugin import inventory_of
from khw.session import open_session

if TYPE_CHECKING:
    from khw.cluster.model import Cluster
    from khw.session import Session

LAB = "bench"
SSH = 22
OWN = "127.0.0.0/8"  # all addresses of this machine for itself
API_ADDRESS = "10.240.0.100"  # of the listed machines; no measurement asks it
PROJECT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
PEER_ENVIRONMENT = PROJECT / ".venv-bench"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the lab, as every tool's inventory has it."""

    name: str
    role: str
    host: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    internal_ip: str
    pod_cidr: str | None


@dataclass(frozen=True)
class Ground:
    """The lab `bench` and the directory of the measurements."""

    root: Path

    @property
    def cluster_file(self) -> Path:
        """Return khw's own cluster file: the machines are the lab's."""
        return self.root / "khw.yaml"

    @property
    def session(self) -> Session:
        """Return khw's session on that file."""
        return open_session(self.cluster_file)

    @cached_property
    def khw(self) -> tuple[str, ...]:
        """Return the khw command line on that file."""
        return (str(Path(sys.executable).with_name("khw")), "-f", str(self.cluster_file))

    def raise_lab(self) -> None:
        """Bring the lab up, with six machines that are booted and bare, or as they were left."""
        self.root.mkdir(parents=True, exist_ok=True)
        _compile()
        _quietly((*self.khw, "lab", "up", "--name", LAB))
        _quietly((*self.khw, "init", "--lab", LAB, "--force"))  # a lab that was down may be elsewhere now
        self._let_in()
        _quietly((*self.khw, "run", "--until", "compute"))

    def _let_in(self) -> None:
        """Let all of this machine's addresses in: what makes the way longer asks from another one than khw does."""
        text = self.cluster_file.read_text()
        said = text.replace("  # source_ranges: [203.0.113.7/32]", f"  source_ranges: [{OWN}]")
        if said == text:
            msg = "the cluster file that khw init writes has no place for source_ranges"
            raise RuntimeError(msg)
        self.cluster_file.write_text(said)

    def renew(self) -> None:
        """Replace all machines by new ones, booted and bare, with the load balancer and the routes in place."""
        self.destroy()
        _quietly((*self.khw, "run", "--until", "compute"))
        _quietly((*self.khw, "run", "--phase", "load-balancer", "--phase", "kubectl", "--phase", "routes"))

    def cut_connections(self) -> None:
        """Let Ansible begin as all others do: its connections of a run before, kept for a minute, are lost."""
        for socket in control_sockets().iterdir():
            socket.unlink()

    def destroy(self) -> None:
        """Remove the machines; a second time if need be: it takes up where the first stopped."""
        try:
            _quietly((*self.khw, "destroy", "--yes"))
        except RuntimeError:
            _quietly((*self.khw, "destroy", "--yes"))

    def end_lab(self) -> None:
        """Remove the machines and the lab."""
        self.destroy()
        _quietly((*self.khw, "lab", "down", "--name", LAB))

    def on(self, host: str, command: str) -> None:
        """Run a command on a machine."""
        _quietly((*self.khw, "ssh", host, "--", command))

    def ask(self, kubeconfig: str, *question: str) -> str:
        """Ask the cluster through its load balancer, as its administrator; '' is khw's own kubeconfig."""
        workspace = self.session.workspace
        file = self.root / kubeconfig if kubeconfig else workspace.kubeconfig
        kubectl = (str(workspace.bin / "kubectl"), f"--kubeconfig={file}", "--request-timeout=10s")
        return _quietly((*kubectl, *question))

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Return all that is reached over the network: the machines' SSH, the load balancer, the cloud's own API."""
        known = json.loads((self.root / "addresses.json").read_text())
        return tuple((host, port) for host, port in known)

    def write_inventories(self) -> tuple[Machine, ...]:
        """Ask the lab who is there, and write that for each tool; the host keys are known beforehand, for all."""
        cluster = self.session.provider.discover()
        inventory_of(cluster, self.session.workspace)  # writes the known_hosts of khw ssh
        machines = _machines(cluster)
        self._note_addresses(cluster, machines)
        session = self.session
        key = login_key(session.spec, session.workspace)
        known = self.root / "known_hosts"
        lines = [f"[{m.host}]:{m.port} {host_key}" for m in machines for host_key in m.host_keys]
        lines += [f"{m.host} {host_key}" for m in machines for host_key in m.host_keys if m.port == SSH]
        write_atomically(known, "".join(f"{line}\n" for line in lines).encode())
        rows = {"key": str(key), "known_hosts": str(known), "machines": [asdict(m) for m in machines]}
        self._write("machines.json", rows)
        self._write("inventory.json", _for_ansible(machines, key, known))
        write_atomically(self.root / "machines.sh", _for_shell(machines, key, known).encode())
        self._write_static(machines, API_ADDRESS, key)
        return machines

    def _note_addresses(self, cluster: Cluster, machines: tuple[Machine, ...]) -> None:
        cloud = urlsplit((cluster.spec.gcp and cluster.spec.gcp.endpoint) or "")
        addresses = [(m.host, m.port) for m in machines]
        addresses += [(cluster.api_address, cluster.network.api_port), (cloud.hostname or "", cloud.port or 0)]
        self._write("addresses.json", addresses)

    @property
    def static_file(self) -> Path:
        """Return khw's cluster file with the machines listed in it, as the peers' inventories list them."""
        return self.root / "static" / "khw.yaml"

    def _write(self, name: str, value: object) -> None:
        write_atomically(self.root / name, json.dumps(value, indent=2).encode())

    def _write_static(self, machines: tuple[Machine, ...], api_address: str, key: Path) -> None:
        nodes = [
            {
                "name": m.name,
                "role": m.role,
                "address": m.internal_ip,
                "pod_cidr": m.pod_cidr,
                "host": m.host,
                "port": m.port,
                "host_keys": list(m.host_keys),
            }
            for m in machines
        ]
        spec = {
            "name": "listed",
            "provider": "static",
            "static": {"api_address": api_address, "nodes": nodes},
            "ssh": {"user": machines[0].user, "private_key": str(key)},
        }
        write_atomically(self.static_file, json.dumps(spec, indent=2).encode())  # YAML takes JSON


def _compile() -> None:
    """Compile khw, as pip does with what it installs, the peers among it; the environment may forbid it to Python."""
    parts = [str(PROJECT / name) for name in ("khw", "inventory", "certs", "tasks")]
    _quietly((sys.executable, "-m", "compileall", "-q", *parts))


def prepare_peers() -> Path:
    """Make the peers' virtual environment (setup.cfg's extra `bench`), and return where its commands are."""
    stamp = PEER_ENVIRONMENT / ".prepared"
    commands = PEER_ENVIRONMENT / "bin"
    setup = PROJECT / "setup.cfg"
    if stamp.exists() and stamp.stat().st_mtime >= setup.stat().st_mtime:
        return commands
    venv.create(PEER_ENVIRONMENT, with_pip=True)
    _quietly((str(commands / "pip"), "install", "-q", "--disable-pip-version-check", *_peer_packages(setup)))
    stamp.touch()
    return commands


def _peer_packages(setup: Path) -> list[str]:
    """Return the extra `bench` alone, so that the peers never meet khw's own packages."""
    from configparser import ConfigParser

    parser = ConfigParser()
    parser.read(setup)
    return parser["options.extras_require"]["bench"].split()


def _machines(cluster: Cluster) -> tuple[Machine, ...]:
    return tuple(
        Machine(
            name=n.name,
            role=n.role.value,
            host=n.ssh_host,
            port=n.ssh_port,
            user=n.ssh_user,
            host_keys=n.host_keys,
            internal_ip=n.internal_ip,
            pod_cidr=n.pod_cidr,
        )
        for n in cluster.nodes
    )


def _for_shell(machines: tuple[Machine, ...], key: Path, known_hosts: Path) -> str:
    def names(role: str) -> str:
        return " ".join(m.name for m in machines if m.role == role)

    rows = [f"key={key}", f"known_hosts={known_hosts}", f"user={machines[0].user}"]
    rows += [f"controllers=({names('controller')})", f"workers=({names('worker')})", "declare -A address port"]
    rows += [f"address[{m.name}]={m.host} port[{m.name}]={m.port}" for m in machines]
    return "\n".join(rows) + "\n"


def _for_ansible(machines: tuple[Machine, ...], key: Path, known_hosts: Path) -> dict[str, object]:
    def group(role: str) -> dict[str, object]:
        mine = [m for m in machines if m.role == role]
        return {"hosts": {m.name: {"ansible_host": m.host, "ansible_port": m.port} for m in mine}}

    return {
        "all": {
            "vars": {
                "ansible_user": machines[0].user,
                "ansible_ssh_private_key_file": str(key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o IdentitiesOnly=yes",
                "ansible_python_interpreter": "/usr/bin/python3",
            },
            "children": {"controllers": group("controller"), "workers": group("worker")},
        }
    }


def control_sockets() -> Path:
    """Return where Ansible keeps the sockets of its connections: a short path, as sockets need."""
    directory = Path(tempfile.gettempdir()) / "khw-bench"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def ansible_settings(ground: Ground) -> dict[str, str]:
    """Return the environment of ansible-playbook."""
    return {
        "ANSIBLE_CONFIG": str(PEERS / "ansible" / "ansible.cfg"),
        "ANSIBLE_INVENTORY": str(ground.root / "inventory.json"),
        "ANSIBLE_LOCAL_TEMP": str(ground.root / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control_sockets()),
        "ANSIBLE_NOCOLOR": "1",
        "BENCH_ROOT": str(ground.root),
    }


def mitogen_settings(commands: Path) -> dict[str, str]:
    """Return what makes Ansible use mitogen."""
    packages = next((commands.parent / "lib").glob("python*/site-packages"))
    return {
        "ANSIBLE_STRATEGY_PLUGINS": str(packages / "ansible_mitogen" / "plugins" / "strategy"),
        "ANSIBLE_STRATEGY": "mitogen_linear",
    }


def _quietly(command: tuple[str, ...]) -> str:
    """Run what is not measured and return what it printed; it is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        msg = f"{' '.join(command[-4:])}: exit code {done.returncode}"
        raise RuntimeError(msg)
    return done.stdout
