"""Recent samples as values: rates, ages and what may be believed. Pure."""
