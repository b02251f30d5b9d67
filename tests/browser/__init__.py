"""The console in a real browser. A package, so that its browser ends before the tests that have an event loop."""
