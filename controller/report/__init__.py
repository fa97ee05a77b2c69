"""What happened in a run: JSON and a self-contained HTML page."""
