"""A package with relative imports, and a module beside main.py."""

import json

import tools
from shop import cart


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"total": cart.total(["tea", "cup"]), "shout": tools.shout("hello")}).encode()]
