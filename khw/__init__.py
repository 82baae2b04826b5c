"""khw: Kubernetes The Hard Way, automated, with nothing hidden."""

__version__ = "0.1.0"
