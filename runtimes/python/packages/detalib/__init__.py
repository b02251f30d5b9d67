"""Let a Micro register functions for `deta run` and for its schedule. Everything is in `detalib.app`."""
