"""State the schemas of the database files. A migration that has been released is never changed: add the next
one.

Moments are whole microseconds since 1970 in UTC. A revision's state is not stored: it is live when its Micro
says so.
"""

from __future__ import annotations

META = (
    """
    CREATE TABLE projects (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, builds_allowed INTEGER
        NOT NULL
    ) STRICT;
    CREATE TABLE micros (
        id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
        name TEXT NOT NULL, runtime TEXT NOT NULL, path TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL,
        subdomain TEXT UNIQUE, http_auth INTEGER NOT NULL, visor INTEGER NOT NULL, timeout_s REAL NOT NULL,
        memory_mb INTEGER NOT NULL, concurrency INTEGER NOT NULL, packages_as_of TEXT, live_revision TEXT,
        UNIQUE (project_id, name)
    ) STRICT;
    CREATE TABLE labels (
        label TEXT PRIMARY KEY, project_id TEXT NOT NULL, micro_id TEXT, released_at INTEGER
    ) STRICT;
    CREATE TABLE revisions (
        id TEXT PRIMARY KEY, micro_id TEXT NOT NULL REFERENCES micros (id) ON DELETE CASCADE, number INTEGER
        NOT NULL, created_at INTEGER NOT NULL, runtime TEXT NOT NULL, dependencies TEXT, code_bytes INTEGER
        NOT NULL, files INTEGER NOT NULL, manifest BLOB NOT NULL, UNIQUE (micro_id, number)
    ) STRICT;
    CREATE TABLE api_keys (
        micro_id TEXT NOT NULL REFERENCES micros (id) ON DELETE CASCADE, name TEXT NOT NULL, description TEXT
        NOT NULL, prefix TEXT NOT NULL, digest BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL, PRIMARY KEY
        (micro_id, name)
    ) STRICT;
    CREATE TABLE tokens (id TEXT PRIMARY KEY, digest BLOB NOT NULL, created_at INTEGER NOT NULL) STRICT;
    CREATE TABLE environment (
        micro_id TEXT NOT NULL REFERENCES micros (id) ON DELETE CASCADE, name TEXT NOT NULL, sealed BLOB NOT
        NULL, PRIMARY KEY (micro_id, name)
    ) STRICT;
    CREATE TABLE project_keys (
        project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL,
        micro_id TEXT UNIQUE REFERENCES micros (id) ON DELETE CASCADE, sealed BLOB, PRIMARY KEY (project_id,
        name)
    ) STRICT;
    CREATE TABLE schedules (
        micro_id TEXT PRIMARY KEY REFERENCES micros (id) ON DELETE CASCADE, expression TEXT NOT NULL,
        anchored_at INTEGER NOT NULL, next_at INTEGER, running TEXT, running_tick INTEGER
    ) STRICT
    """,
    """
    ALTER TABLE revisions ADD COLUMN report BLOB
    """,
    """
    CREATE TABLE purges (
        micro_id TEXT PRIMARY KEY REFERENCES micros (id) ON DELETE CASCADE, salt TEXT NOT NULL
    ) STRICT
    """,
    # The tokens that were there are the owner's, and end as they always did: never.
    """
    CREATE TABLE users (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, role TEXT NOT NULL, password TEXT,
        created_at INTEGER NOT NULL
    ) STRICT;
    INSERT INTO users VALUES ('owner', 'owner', 'owner', NULL, unixepoch() * 1000000);
    CREATE TABLE sessions (
        digest BLOB PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX sessions_of_a_user ON sessions (user_id);
    CREATE TABLE entries (
        digest BLOB PRIMARY KEY, session BLOB NOT NULL REFERENCES sessions (digest) ON DELETE CASCADE,
        micro_id TEXT NOT NULL REFERENCES micros (id) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX entries_of_a_session ON entries (session);
    CREATE INDEX entries_of_a_micro ON entries (micro_id);
    CREATE TABLE invitations (
        user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, digest BLOB NOT NULL UNIQUE,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tokens_of_users (
        id TEXT PRIMARY KEY, digest BLOB NOT NULL, created_at INTEGER NOT NULL,
        user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, name TEXT NOT NULL, expires_at INTEGER,
        last_used_at INTEGER
    ) STRICT;
    INSERT INTO tokens_of_users SELECT id, digest, created_at, 'owner', '', NULL, NULL FROM tokens;
    DROP TABLE tokens;
    ALTER TABLE tokens_of_users RENAME TO tokens;
    CREATE TABLE domains (
        domain TEXT PRIMARY KEY, micro_id TEXT NOT NULL REFERENCES micros (id) ON DELETE CASCADE,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX domains_of_a_micro ON domains (micro_id);
    CREATE TABLE logs (
        revision_id TEXT PRIMARY KEY REFERENCES revisions (id) ON DELETE CASCADE, packed BLOB NOT NULL
    ) STRICT
    """,
    # A word, or names with commas.
    """
    ALTER TABLE micros ADD COLUMN egress TEXT NOT NULL DEFAULT 'public'
    """,
    # A domain that led here and was given up is remembered for its project, also when its Micro went and took it along.
    """
    ALTER TABLE domains ADD COLUMN state TEXT NOT NULL DEFAULT 'pending';
    ALTER TABLE domains ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    ALTER TABLE domains ADD COLUMN checked_at INTEGER;
    ALTER TABLE domains ADD COLUMN project_id TEXT NOT NULL DEFAULT '';
    UPDATE domains SET project_id = (SELECT project_id FROM micros WHERE micros.id = micro_id);
    CREATE TABLE released_domains (
        domain TEXT PRIMARY KEY, project_id TEXT NOT NULL, released_at INTEGER NOT NULL
    ) STRICT;
    CREATE TRIGGER domain_released AFTER DELETE ON domains WHEN old.state = 'active' BEGIN
        INSERT OR REPLACE INTO released_domains VALUES (old.domain, old.project_id, unixepoch() * 1000000);
    END
    """,
    # Micros that go again unless their first deployment succeeds.
    """
    CREATE TABLE unfinished (
        micro_id TEXT PRIMARY KEY REFERENCES micros (id) ON DELETE CASCADE
    ) STRICT
    """,
)

EVENTS = (
    """
    CREATE TABLE executions (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, micro_id TEXT NOT NULL,
        revision_id TEXT NOT NULL, trigger TEXT NOT NULL, started_at INTEGER NOT NULL, duration_s REAL NOT
        NULL, queued_s REAL NOT NULL, start TEXT NOT NULL, status INTEGER NOT NULL, method TEXT NOT NULL,
        path TEXT NOT NULL, action TEXT NOT NULL, cause TEXT, message TEXT NOT NULL, log TEXT NOT NULL,
        peak_memory_bytes INTEGER
    ) STRICT;
    CREATE INDEX executions_of_a_micro ON executions (micro_id, number);
    CREATE INDEX executions_by_time ON executions (started_at)
    """,
    """
    CREATE INDEX executions_of_a_micro_by_time ON executions (micro_id, started_at)
    """,
    """
    CREATE TABLE minutes (
        micro_id TEXT NOT NULL, minute INTEGER NOT NULL, count INTEGER NOT NULL, errors INTEGER NOT NULL,
        durations BLOB NOT NULL, PRIMARY KEY (micro_id, minute)
    ) STRICT, WITHOUT ROWID
    """,
    # nothing reads it any more
    """
    DROP INDEX executions_of_a_micro_by_time
    """,
)

# Nothing here is readable as it came: credentials are masked before they are written. `head` is JSON.
VISOR = (
    """
    CREATE TABLE exchanges (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, micro_id TEXT NOT NULL,
        started_at INTEGER NOT NULL, head BLOB NOT NULL, request BLOB NOT NULL, response BLOB NOT NULL
    ) STRICT;
    CREATE INDEX exchanges_of_a_micro ON exchanges (micro_id, number);
    CREATE INDEX exchanges_by_time ON exchanges (started_at)
    """,
)

# One file a project. Keys are the bytes of their UTF-8, so that order and ranges are bytewise; a body is the
# item's JSON text, key and all, and is sent as it stands here. `expires` repeats `__expires`, in seconds.
BASES = (
    """
    CREATE TABLE bases (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL) STRICT;
    CREATE TABLE items (
        base INTEGER NOT NULL, key BLOB NOT NULL, body TEXT NOT NULL, expires REAL, PRIMARY KEY (base, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX items_by_expiry ON items (expires, base) WHERE expires IS NOT NULL;
    CREATE TABLE indexes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, base INTEGER NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL,
        built_to BLOB NOT NULL, created_at INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX indexes_by_path ON indexes (base, path) WHERE state <> 'dropped';
    CREATE TABLE entries (
        number INTEGER NOT NULL, value ANY NOT NULL, key BLOB NOT NULL, PRIMARY KEY (number, value, key)
    ) STRICT, WITHOUT ROWID
    """,
)
