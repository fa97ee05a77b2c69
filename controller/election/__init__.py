"""Which of several controllers acts: one holder of a Kubernetes Lease at a time."""
