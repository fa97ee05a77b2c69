"""A simulated vLLM fleet under virtual time, the policies that run on it, and what each of them costs."""
