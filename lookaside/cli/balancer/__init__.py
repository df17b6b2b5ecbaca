"""The balancer as the commands see it: its client, its messages, its errors."""
