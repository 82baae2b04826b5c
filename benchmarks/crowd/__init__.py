"""
A thousand machines that are two processes, for the question how much of a machine khw needs for so many.

`main.go` speaks SSH for all of them, each with an address and a host key of its own; behind it each has khw's real
agent and a directory of its own as its file system (`agents`).
"""
