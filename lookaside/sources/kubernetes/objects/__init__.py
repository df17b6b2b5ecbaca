"""The watched resources: JSON of the API to records of the registry."""
