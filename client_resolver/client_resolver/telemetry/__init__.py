"""What a channel tells of itself: observers, log records and latency histograms."""
