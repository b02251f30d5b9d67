"""Back everything up, and bring it back."""
