"""Run a Micro's code inside its sandbox (runtimes/CONTRACT.md). Standard library only, CPython 3.9 and newer.

Theory of operation
    control    boot and template: waits on the control socket, imports the entry file, forks executors
    launching  the same where executors are programs of another language
    records    the warden's messages, for both
    importing  the import path, the entry file, what it offers
    serving    keeps a server that the entry file starts from blocking it
    detecting  tells ASGI from WSGI, finds run and cron handlers
    jail       what a fork gives up before any of the user's code runs in it
    executor   the first steps of a new executor: jail, seeds; then hands over to one of
    looping      an event loop, for ASGI applications (asgi, websocket, lifespan)
    blocking     plain blocking calls, for WSGI applications and Micros of handlers only (wsgi)
    events     run and cron
    frames     the wire; faults: what went wrong, for a program and for the user's log
    confine    the system calls that Python's os module has no name for
Everything here runs beside hostile code in one process: it keeps honest programs working and explains
failures; it guards nothing.
"""
