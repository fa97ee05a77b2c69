"""The web page that the controller serves: what is going on, and why."""
