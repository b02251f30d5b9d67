"""Serve people's files over HTTP, as the original Drive did."""
