"""Read a SQLite file that was deployed with the code; writing to it fails with an ordinary error."""

import sqlite3

from bottle import Bottle, abort, response

app = Bottle()


@app.get("/words/<word>")
def meaning(word):
    with sqlite3.connect("words.db") as words:
        row = words.execute("SELECT meaning FROM words WHERE word = ?", (word,)).fetchone()
    if row is None:
        abort(404, "no such word")
    return {"word": word, "meaning": row[0]}


@app.get("/write")
def write():
    try:
        with sqlite3.connect("words.db") as words:
            words.execute("DELETE FROM words")
    except sqlite3.OperationalError as error:
        response.status = 500
        return {"error": str(error)}
    return {"written": True}
