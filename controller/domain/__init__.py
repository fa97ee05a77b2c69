"""The values every other package speaks in. Standard library only; all frozen."""
