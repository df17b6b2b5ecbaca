"""What clients talk to: the LoadBalancer over gRPC, health and reflection."""
