"""The `deta` command: a client of the host's API. It speaks HTTP and imports nothing of the host."""
