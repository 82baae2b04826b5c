"""What a task asks for on a node, and how the node is brought there: probe, compare, act."""
