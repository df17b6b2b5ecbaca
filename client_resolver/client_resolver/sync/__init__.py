"""The shell for threads. Its public face is `client_resolver` itself."""
