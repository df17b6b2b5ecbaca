"""Pure state machines: no grpc, no I/O, no clock of their own."""
