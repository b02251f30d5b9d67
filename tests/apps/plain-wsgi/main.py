"""Answer with what arrived, as JSON. /boom raises, /stream answers in pieces."""

import json


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise RuntimeError("this Micro fails on purpose")
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (f"piece {number}\n".encode() for number in range(5))
    body = environ["wsgi.input"].read()
    answer = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "query": environ["QUERY_STRING"],
        "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
        "content_type": environ.get("CONTENT_TYPE", ""),
        "body": body.decode("latin-1"),
    }
    content = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]
