"""Imports a module that nobody installed."""

import a_module_that_nobody_installed


def app(environ, start_response):
    start_response("200 OK", [])
    return [a_module_that_nobody_installed.hello()]
