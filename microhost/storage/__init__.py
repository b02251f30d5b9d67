"""Keep everything that is kept: the only SQL and the only file tree. Interfaces name no engine."""
