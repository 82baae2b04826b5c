"""A run: phases × hosts, with gates between them, as one Nornir run."""
