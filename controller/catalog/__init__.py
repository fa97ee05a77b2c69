"""One catalogue of every metric that is scraped or exported. Standard library only."""
