"""The whole stack on one machine: start it, watch it, stop it."""
