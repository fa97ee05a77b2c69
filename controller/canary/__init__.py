"""A new build gets traffic step by step, while it does no worse than the old one."""
