"""Telemetry of a channel: observers, log records and latency histograms."""
