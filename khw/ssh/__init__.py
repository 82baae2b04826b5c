"""The way to a node: a login, the agent at its far end, artifacts passed on between nodes."""
