"""No HTTP at all: run handlers and a cron handler."""

import time

from deta import app


@app.lib.run()
def default(event):
    print("the default action ran")
    return {"json": event.json, "body": event.body, "type": event.type, "action": event.action}


@app.lib.run(action="hello")
def hello(event):
    return "hello " + event.json.get("name", "world")


@app.lib.run(action="nothing")
def nothing(event):
    return None


@app.lib.run(action="boom")
def boom(event):
    print("before it fails")
    raise ValueError("this handler fails on purpose")


@app.lib.run(action="set")
def unserializable(event):
    return {1, 2, 3}


@app.lib.run(action="sleep")
def sleep(event):
    time.sleep(60)


@app.lib.run(action="later")
async def later(event):
    return "from a coroutine"


@app.lib.run(action="time")
@app.lib.cron()
def tick(event):
    print("cron says hello, type", event.type)
    return "ticked by " + event.type
