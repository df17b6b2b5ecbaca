"""Selects the endpoints for one client: topology hints and subsets. Pure."""
