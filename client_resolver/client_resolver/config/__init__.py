"""A channel's configuration: keywords, targets and service configs, read and checked once."""
