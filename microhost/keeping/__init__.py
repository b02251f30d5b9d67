"""Back everything up, bring it back, and take in what the original exported."""
