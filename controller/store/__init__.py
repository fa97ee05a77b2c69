"""Decision records and the loop's state on disk."""
