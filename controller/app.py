"""The composition root: builds the adapters and wires them into a loop."""
