"""The commands, a module each, and the flags that they share."""
