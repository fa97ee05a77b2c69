"""Decides how many replicas each deployment should have, and says why. Values only: no I/O and no clock."""
