"""Which of a service's endpoints one client is given: topology hints and subsets. Pure."""
