"""Fifty steps that change nothing, on six hosts, timed as a whole process: what a tool costs when there is no work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.clock import Case
from benchmarks.ground import PEERS, ansible_settings, mitogen_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.ground import Ground

MICRO = "micro"
NOT_FAR = ("ansible: 50 copy tasks", "pyinfra: 50 files.put")
"""What is left out at a distance: it takes minutes there."""
KHW = "khw: 50 files, one phase"
NORNIR = "nornir + netmiko: 50 commands"
PYINFRA = "pyinfra: 50 server.shell"
RAW = "ansible: 50 raw tasks"


def cases(ground: Ground, commands: Path) -> Iterable[Case]:
    """Return the contestants; `commands` is where the peers' commands are."""
    return (*_khw(ground), _nornir(ground), *_pyinfra(ground, commands), *_ansible(ground, commands))


def _khw(ground: Ground) -> Iterable[Case]:
    script = str(PEERS / "khw_steps.py")
    listed, cloud = str(ground.static_file), str(ground.cluster_file)
    rows = (
        (KHW, listed, "together", "file, mode, owner and digest compared; machines listed, as the peers' inventories"),
        ("khw: 50 phases of one file", listed, "apart", "an exchange a step: what batching saves"),
        ("khw: machines asked of the cloud", cloud, "together", "as the first, with discovery through the cloud's API"),
    )
    for name, file, how, note in rows:
        yield Case(name=name, command=(sys.executable, script, file, how), directory=ground.root, note=note)


def _ansible(ground: Ground, commands: Path) -> Iterable[Case]:
    home = PEERS / "ansible"
    play = str(commands / "ansible-playbook")
    settings = ansible_settings(ground)
    rows: tuple[tuple[str, str, dict[str, str], str], ...] = (
        (RAW, "steps_raw.yml", {}, "pipelining, forks=6, no facts; compares nothing"),
        ("ansible + mitogen: 50 copy tasks", "steps_copy.yml", mitogen_settings(commands), "as the next, by mitogen"),
        ("ansible: 50 copy tasks", "steps_copy.yml", {}, "the same 50 files compared, like for like"),
    )
    for name, playbook, more, note in rows:
        yield Case(
            name=name,
            command=(play, str(home / playbook)),
            directory=ground.root,
            environment={**settings, **more},
            note=note,
        )


def _nornir(ground: Ground) -> Case:
    return Case(
        name=NORNIR,
        command=(sys.executable, str(PEERS / "nornir_steps.py"), str(ground.root / "machines.json")),
        directory=ground.root,
        note="netmiko_send_command, six workers; compares nothing",
    )


def _pyinfra(ground: Ground, commands: Path) -> Iterable[Case]:
    home = PEERS / "pyinfra"
    rows = (
        (PYINFRA, "steps_shell.py", "compares nothing"),
        ("pyinfra: 50 files.put", "steps_put.py", "the same 50 files compared, like for like"),
    )
    for name, deploy, note in rows:
        yield Case(
            name=name,
            command=(str(commands / "pyinfra"), "-y", str(home / "inventory.py"), str(home / deploy)),
            directory=ground.root,
            environment={"BENCH_ROOT": str(ground.root)},
            note=note,
        )
