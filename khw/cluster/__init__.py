"""What a cluster is, and the cluster file that says it."""
