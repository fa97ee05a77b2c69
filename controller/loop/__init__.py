"""One tick, top to bottom, and when to tick."""
