"""A lookaside load balancer for gRPC on Kubernetes."""
