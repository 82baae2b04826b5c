"""
A Nornir task for one host, as it travels to another process and back (`khw.engine.dask_runner` sends it).

What travels: the task's function and parameters, the host with its groups, what of Nornir's configuration a task sees.
What does not: open connections, processors, the options of the inventory, anything that is a `khw.secret.Secret`.
There it runs as it would here, on a Nornir of that one host; its connections are closed when it ends. What comes back
are its results.
"""

from __future__ import annotations

import pickle
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nornir.core import Nornir
from nornir.core.configuration import Config
from nornir.core.exceptions import NornirSubTaskError
from nornir.core.inventory import Group, Groups, Host, Hosts, Inventory
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.processor import Processors
from nornir.core.task import MultiResult, Task

from khw.errors import KhwError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nornir.core.task import Result

SECRETS = frozenset({"password", "passwd", "passphrase", "secret", "pkey", "token", "private_key"})


class RemoteError(KhwError):
    """An exception of a task in another process that cannot travel itself: its kind and its words."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that a host's task needs elsewhere; `run` is the run that it is part of."""

    run: str
    task: Any
    name: str
    parameters: Mapping[str, Any]
    severity: int
    dry_run: bool
    host: Host
    config: Config

    @classmethod
    def of(cls, run: str, task: Task, config: Config, host: Host) -> Parcel:
        """Return what is to travel of this task and this host, and `seen_by_tasks` of the configuration."""
        bare = Host(
            name=host.name,
            hostname=host.hostname,
            port=host.port,
            username=host.username,
            password=host.password,
            platform=host.platform,
            groups=host.groups,
            data=host.data,
            connection_options=host.connection_options,
            defaults=host.defaults,
        )
        return cls(run, task.task, task.name, task.params, task.severity_level, task.is_dry_run(), bare, config)


def seen_by_tasks(config: Config) -> Config:
    """Return the configuration without the options of plugins: an inventory's may hold a password."""
    return Config(ssh=config.ssh, core=config.core, user_defined=config.user_defined)


class _Here:
    """What runs in this process, by run, and which runs were stopped."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stopped: set[str] = set()
        self.hosts: dict[str, set[Host]] = {}


_here = _Here()


def work(packed: bytes) -> bytes:
    """Run a host's task; nothing (b'') if its run was stopped before it began."""
    parcel: Parcel = pickle.loads(packed)  # noqa: S301 - who may send tasks may send any code: that is what they are
    host = parcel.host
    with _here.lock:
        if parcel.run in _here.stopped:
            return b""
        _here.hosts.setdefault(parcel.run, set()).add(host)
    try:
        return _dumped(_task(parcel).start(host))
    finally:
        with suppress(Exception):  # a connection that is broken is as good as closed
            host.close_connections()
        with _here.lock:
            _here.hosts[parcel.run].discard(host)


def stop(run: str) -> None:
    """Begin no host of this run any more."""
    with _here.lock:
        _here.stopped.add(run)


def end(run: str) -> None:
    """End what runs: its connections are closed, from a thread, because closing may take a moment."""
    stop(run)
    with _here.lock:
        hosts = list(_here.hosts.get(run, ()))
    threading.Thread(target=_close_all, args=(hosts,), daemon=True).start()


def dask_setup(_worker: object) -> None:
    """Leave Ctrl-C to the process that the person sees: a terminal sends it to this one, too (Dask's preload)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def results(packed: bytes, host: Host) -> MultiResult:
    """Return the results that came back, as this host's."""
    multi: MultiResult = pickle.loads(packed)  # noqa: S301 - it comes from where our own code runs
    for result in multi:
        result.host = host
    return multi


def secrets_of(parcel: Parcel) -> list[str]:
    """Return where the host, its groups, the defaults or the task's parameters hold a password or the like."""
    host = parcel.host
    parts: list[tuple[str, Any]] = [
        (host.name, host),
        *((group.name, group) for group in host.extended_groups()),
        ("defaults", host.defaults),
    ]
    found = [*_named(dict(parcel.parameters)), *_named(parcel.config.user_defined)]
    for name, part in parts:
        inherited = {"password": object.__getattribute__(part, "password"), "data": part.data}
        options = {kind: {"password": row.password, "extras": row.extras} for kind, row in _options(part).items()}
        found += [f"{name}: {place}" for place in _named({**inherited, **options})]
    return found


def _options(part: Any) -> Mapping[str, Any]:
    options: Mapping[str, Any] = part.connection_options
    return options


def _named(value: object, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            inner = f"{place}.{key}".removeprefix(".")
            if isinstance(key, str) and key.lower() in SECRETS and item:
                yield inner
            else:
                yield from _named(item, inner)


def _task(parcel: Parcel) -> Task:
    ConnectionPluginRegister.auto_register()
    host = parcel.host
    groups: dict[str, Group] = {group.name: group for group in host.extended_groups()}
    inventory = Inventory(Hosts({host.name: host}), Groups(groups), host.defaults)
    nornir = Nornir(inventory, parcel.config)
    return Task(
        parcel.task,
        nornir,
        parcel.dry_run,
        Processors(),
        parcel.name,
        parcel.severity,
        **parcel.parameters,
    )


def _dumped(multi: MultiResult) -> bytes:
    for result in multi:
        result.host = None
        _make_fit(result)
    return pickle.dumps(multi)


def _make_fit(result: Result) -> None:
    """Put words in the place of what cannot travel."""
    error = result.exception
    if isinstance(error, NornirSubTaskError) or (error and not _travels(error)):
        result.exception = RemoteError(f"{type(error).__name__}: {error}")
    if not _travels(result):
        result.result = repr(result.result)


def _travels(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever a value's own pickling raises, it does not travel
        return False
    return True


def _close_all(hosts: list[Host]) -> None:
    for host in hosts:
        with suppress(Exception):  # one that is just being opened or closed: its task has an end of its own
            host.close_connections()
