"""From demand to targets: size, stabilise, limit. Pure."""
