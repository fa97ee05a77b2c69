"""Autoscalers that others publish, by their own rules. Each is one small file."""
