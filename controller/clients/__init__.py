"""Typed clients of the systems that are both read and written."""
