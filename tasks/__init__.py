"""khw.tasks: what is done to a node, one file a chapter."""
