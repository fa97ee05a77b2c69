"""The controller's brain as a filter: snapshots in, plans out, for any simulator or actuator."""
