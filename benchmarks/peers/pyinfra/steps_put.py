"""The micro measurement, like for like: the same fifty files as khw's, compared and found right."""

from io import StringIO

from pyinfra.operations import files

for number in range(50):
    files.put(
        name=f"step {number}",
        src=StringIO(f"# step {number}\n" * 80),
        dest=f"/etc/khw-bench-{number}",
        mode="644",
        _sudo=True,
    )
