"""khw beside its peers, on the same lab, the same artifacts and the same files. It never ships: `make bench`."""
