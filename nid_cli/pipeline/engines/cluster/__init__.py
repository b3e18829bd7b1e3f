"""The engine of a Ray cluster: Ray is imported here alone."""
