"""The micro measurement: fifty steps that do nothing."""

from pyinfra.operations import server

for number in range(50):
    server.shell(name=f"step {number}", commands=["true"])
