from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello_world():
    return "<p>Hello, World!</p>"


@app.route("/boom")
def boom():
    raise RuntimeError("this Micro fails on purpose")
