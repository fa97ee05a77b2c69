"""Quantiles of demand at the lead time. Pure."""
