"""khw.lab.api: the part of the Compute Engine v1 REST API that khw uses, over a lab's state and backend."""
