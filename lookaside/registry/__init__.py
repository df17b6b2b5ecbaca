"""The registry: merging slices into endpoints, and the versioned store of snapshots. Pure."""
