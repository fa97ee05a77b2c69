"""Foreserve's control plane: measures, forecasts, plans and acts for a Ray Serve LLM service."""
