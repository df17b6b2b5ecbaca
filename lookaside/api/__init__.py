"""The gRPC API: the LoadBalancer, health and reflection."""
