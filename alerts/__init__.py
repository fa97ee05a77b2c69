"""Recording rules and alerts, made from the catalogue and the policy. Values in, values out."""
