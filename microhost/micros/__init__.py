"""Deploy, start, call, schedule and record Micros."""
