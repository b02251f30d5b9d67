"""Show the environment. With BREAK_IMPORT set it does not import."""

import json
import os

if os.environ.get("BREAK_IMPORT"):
    raise RuntimeError("BREAK_IMPORT is set, so this Micro does not import")

AT_IMPORT = dict(os.environ)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"at_import": AT_IMPORT, "now": dict(os.environ)}).encode()]
