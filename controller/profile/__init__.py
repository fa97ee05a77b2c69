"""Measures what one endpoint carries within its objectives, and writes it as a capacity prior for the policy."""
