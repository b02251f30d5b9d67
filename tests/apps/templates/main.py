"""Templates, static files and a data file, all found relative to the working directory."""

from flask import Flask, render_template

app = Flask(__name__)


@app.route("/")
def home():
    with open("data/greeting.txt") as file:
        greeting = file.read().strip()
    return render_template("home.html", greeting=greeting)


@app.route("/write")
def write():
    try:
        with open("data/greeting.txt", "w") as file:
            file.write("changed")
    except OSError as error:
        return {"errno": error.errno, "error": error.strerror}, 500
    return {"written": True}
