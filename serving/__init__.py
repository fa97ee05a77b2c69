"""The Ray Serve LLM application that Foreserve controls. Never imports controller."""
