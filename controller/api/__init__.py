"""Health, state and decisions over HTTP."""
