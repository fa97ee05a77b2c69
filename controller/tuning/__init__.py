"""Searches policy parameters by replay: what each costs, and what users get for it."""
