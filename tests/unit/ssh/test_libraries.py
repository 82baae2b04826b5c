"""A login takes little of netmiko and paramiko, and leaves both whole for others."""

from __future__ import annotations

import subprocess
import sys


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOADED = "from khw.ssh import libraries\nlibraries.load()\nimport sys, netmiko\n"


def test_a_login_takes_no_vendors_devices_and_no_asyncio() -> None:
    code = (
        "from netmiko.terminal_server.terminal_server import TerminalServerSSH\n"
        "from nornir_netmiko.connections import Netmiko\n"
        "options = {'device_type': 'terminal_server', 'host': 'h', 'auto_connect': False}\n"
        "assert type(netmiko.ConnectHandler(**options)) is TerminalServerSSH\n"
        "heavy = {'netmiko.ssh_dispatcher', 'netmiko.cisco', 'invoke', 'asyncio', 'unittest'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    assert python(LOADED + code) == "[]"


def test_netmiko_is_whole_for_whoever_else_uses_it() -> None:
    code = (
        "import netmiko.ssh_dispatcher as real\n"
        "from netmiko import FileTransfer, SSHDetect\n"
        "assert netmiko.ConnectHandler is real.ConnectHandler and netmiko.platforms and netmiko.__version__\n"
        "device = netmiko.ConnectHandler(device_type='cisco_ios', host='h', auto_connect=False)\n"
        "print(isinstance(device, netmiko.BaseConnection))\n"
    )
    assert python(LOADED + code) == "True"


def test_another_kind_of_device_is_netmikos_to_find() -> None:
    code = "print(netmiko.ConnectHandler(device_type='cisco_ios', host='h', auto_connect=False).__class__.__name__)\n"
    assert python(LOADED + code) == "CiscoIosSSH"


def test_what_was_imported_before_is_taken_as_it_is() -> None:
    code = "import netmiko as whole, invoke\n" + LOADED + "import paramiko.config\n"
    assert python(code + "print(whole is netmiko, paramiko.config.invoke is invoke)") == "True True"


def test_a_rule_of_an_ssh_config_that_runs_a_command_still_does() -> None:
    code = (
        LOADED + "import paramiko\n"
        "config = paramiko.SSHConfig.from_text('Match exec \"true\"\\n  User somebody\\n')\n"
        "print(config.lookup('host')['user'], 'invoke' in sys.modules)\n"
    )
    assert python(code) == "somebody True"
