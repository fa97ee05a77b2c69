"""What people and alerts ask of the controller: overrides for a while, and the word on a plan that waits for it."""
