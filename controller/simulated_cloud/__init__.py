"""A simulated GKE cluster that acts on a real Kubernetes API server; docs/simulated-cloud.md lists what it assumes."""
