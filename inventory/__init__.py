"""khw.inventory: where nodes come from."""
