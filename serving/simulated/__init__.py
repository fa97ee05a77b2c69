"""A stand-in for an engine: it waits as long as a GPU would compute, and its answers are filler words.

It is no model and says so: every answer carries ``system_fingerprint: foreserve-simulated``. What is real around it is
everything else: Ray Serve, HAProxy, the OpenAI-compatible API, streaming, queueing, and the metrics' names.
"""
