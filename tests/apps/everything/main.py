"""HTTP, run and cron in one app."""

from deta import App
from fastapi import FastAPI

app = App(FastAPI())
calls = {"http": 0, "run": 0, "cron": 0}


@app.get("/")
def http():
    calls["http"] += 1
    return "Hello Deta, I am running with HTTP"


@app.lib.run()
@app.lib.run(action="greet")
def run_job(event):
    calls["run"] += 1
    return "Hello " + event.json.get("name", "Deta") + ", I am a run"


@app.lib.cron()
def cron_job(event):
    calls["cron"] += 1
    print("the cron handler ran")
    return "Hello Deta, I am a cron job"
