"""Name every message between the host and the warden, and frame them.

Theory of operation
    One `SOCK_SEQPACKET` pair joins the warden (privileged, parent) and the host (unprivileged, child). A record is one JSON
    object of at most RECORD_BYTES; descriptors ride along by SCM_RIGHTS. The set of operations is closed; a request
    carries ids, never a path, an argument list or a uid: the warden derives those from its own settings, and takes limits only
    when they are at most its own.

Requests {"op", "id", ...}; every one is answered by {"re": id, "ok": true, ...} or {"re": id, "error": "one sentence"}.

    boot    {"sandbox", "micro", "runtime", "dependencies": id | null, "memory_bytes", "tmp_bytes", "tasks",
            "egress": "public" | "none" | [names]}
            start an interpreter in a sandbox of its own; none of the user's code runs
    attach  {"sandbox", "revision", "mode": "fork" | "fresh"} + [environment, log, report]
            mount the revision's code, let the guest import it; the event `template` tells how it went
    lease   {"sandbox"} -> {"executor", "spare": bool} + [channel, stdout, stderr, freezer, peak]
            an executor: the frozen spare (thawed by the answer) or a new fork. `freezer` is open for writing: b"1" freezes, b"0" thaws on v2;
            b"FROZEN", b"THAWED" on v1 (the answer's "freeze" and "thaw" say which bytes). Its first frame is `r` or `f` (runtimes/CONTRACT.md).
            Reading `peak` gives the most memory that was charged to it; writing to it begins anew where the kernel allows that
    kill    {"executor"} -> {"evidence": {"cause": "out_of_memory" | "killed" | "exited" | "sandbox_died", "status": int | null,
            "peak_memory_bytes", "cpu_s"}}
            end an executor at once with all it started; answers the same again when called twice, or after it died by itself
    doors   {"sandbox"} -> [HTTP, HTTPS, DNS over TCP, DNS over UDP]
            the sockets in the sandbox's own network (doors.py), non-blocking; every host that asks gets duplicates, at any
            time from the end of `boot` to the event `gone`
    permit  {"sandbox", "addresses", "ttl_s"}
            let a sandbox whose `egress` is a list reach the addresses that one of its names has
    stop    {"sandbox"}   end a sandbox with all its executors
    list    -> {"sandboxes": [{"sandbox", "micro", "revision", "state", "mode", "memory_bytes", "executors": [...]}]}
    install {"build", "runtime", "packages_as_of": date | null, "builds_allowed": bool,
            "scope": project, "salt": id | null} + [requirements, log] -> {"dependencies": id, "bytes"}
            resolve and install a requirements file into the content-addressed store; the log receives uv's output
    fetch   {"build", "url", "ref", "commit", "bundle": bool} + [told, zip]
            fetch a commit of a public git repository (fetching.py); `told` gets one JSON object, `zip` the files when
            they are wanted. "ref" and "commit" may be empty
    sweep   {"dependencies": [ids in use]}   delete dependency sets that no revision uses
    ready   {}   the host serves: the warden may end the one it replaces
    doctor  -> {"guards": [...]}, {"runtimes": [...]}

Events {"event", ...}

    template {"sandbox", "state": "ready" | "unsafe" | "failed" | "died", "reason", "cause": "" | "timeout" | "out_of_memory" | "tasks"}
             cause: what the kernel counted while the import ran (`tasks`: more processes and threads were wanted than allowed).
             unsafe: not fit to be forked, `reason` says what it holds; stop it and attach a new sandbox in mode `fresh`
    exited   {"executor", "sandbox", "evidence"}
    gone     {"sandbox"}   nothing of it is left; told to every host, after every end, also after `stop`
    drain    {"taken": [sandboxes]}   stop scheduling, finish what runs, exit; a successor accepts on the doors of those `taken`
"""

from __future__ import annotations

RECORD_BYTES = 32 * 1024
