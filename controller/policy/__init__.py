"""The policy file: models, loading and its JSON Schema."""
