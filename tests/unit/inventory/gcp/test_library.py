from __future__ import annotations

import subprocess
import sys

COUNT = "len([name for name in sys.modules if name.startswith('google.cloud.compute_v1.services.')])"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_provider_loads_no_client_before_it_is_asked_for() -> None:
    assert python(f"import sys, khw.inventory.gcp.provider; print({COUNT})") == "0"


def test_a_client_brings_only_what_it_needs_itself() -> None:
    code = (
        "import sys\n"
        "from khw.inventory.gcp.library import compute_v1\n"
        "compute_v1.RegionBackendServicesClient, compute_v1.Network\n"
        "services = {n.split('.')[4] for n in sys.modules if n.startswith('google.cloud.compute_v1.services.')}\n"
        "print(*sorted(services))\n"
    )
    assert python(code) == "region_backend_services region_operations"


def test_the_library_is_whole_for_whoever_else_uses_it() -> None:
    code = (
        "import khw.inventory.gcp.provider\n"
        "from google.cloud import compute_v1\n"
        "message = compute_v1.Network\n"
        "from google.cloud.compute_v1 import *\n"
        "assert RoutersClient is compute_v1.RoutersClient and Network is message\n"
        "assert all(hasattr(compute_v1, name) for name in compute_v1.__all__)\n"
        "print(compute_v1.__version__ == compute_v1.gapic_version.__version__)\n"
    )
    assert python(code) == "True"


def test_a_name_that_the_library_does_not_have_is_an_attribute_error() -> None:
    code = (
        "from khw.inventory.gcp.library import compute_v1\n"
        "for name in ('NoSuchClient', 'NoSuch', 'nothing', '_private'):\n"
        "    try:\n"
        "        getattr(compute_v1, name)\n"
        "    except AttributeError as error:\n"
        "        print(name in str(error))\n"
    )
    assert python(code) == "True\nTrue\nTrue\nTrue"


def test_what_was_imported_before_is_taken_as_it_is() -> None:
    code = (
        "from google.cloud import compute_v1 as whole\n"
        "from khw.inventory.gcp.library import compute_v1\n"
        "print(whole is compute_v1)\n"
    )
    assert python(code) == "True"
