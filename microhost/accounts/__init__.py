"""Know who may do what: users, their passwords, sessions and tokens, and what a browser's request proves."""
