"""The service's worker processes, trusted and quarantined."""
