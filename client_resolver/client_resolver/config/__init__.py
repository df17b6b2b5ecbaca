"""What a channel is told: keywords, targets and service configs, read and checked once."""
