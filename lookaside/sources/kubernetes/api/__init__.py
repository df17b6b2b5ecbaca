"""The API server: how to reach it, and how its answers are decoded."""
