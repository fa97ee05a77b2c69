"""Make decisions true: one adapter per system that is written to."""
