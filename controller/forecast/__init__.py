"""Predicts demand one lead time ahead, with a band that knows its own errors. Values only: no I/O and no clock."""
