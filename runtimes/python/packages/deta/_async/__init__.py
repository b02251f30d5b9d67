"""Hold what needs `asyncio`; imported when the first AsyncBase is made."""
