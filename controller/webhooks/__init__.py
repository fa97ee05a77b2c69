"""Events out to other systems, at least once; alerts and words in from them, authenticated and bounded."""
