"""Grafana dashboards, made with grafanalib from the catalogue. Values in, values out."""
