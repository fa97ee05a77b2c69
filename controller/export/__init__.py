"""Show finished ticks: Prometheus metrics and structured logs."""
