"""Decision records as text a person can read. Pure: records in, text out."""
