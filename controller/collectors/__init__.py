"""Read the outside world: one adapter per system that is scraped."""
