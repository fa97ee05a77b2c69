"""Ways to put models together: each module builds one, for Serve configs and as a start for one's own."""
