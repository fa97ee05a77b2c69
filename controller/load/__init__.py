"""Open-loop load generation from request traces."""
