"""khw.lab: the emulated GCP project."""
