"""Serve Base: a document store over HTTP, one file a project."""
