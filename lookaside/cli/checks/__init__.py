"""The checks of `lookaside check` and of the start of the service."""
