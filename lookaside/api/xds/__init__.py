"""The xDS door: the lists of the store for stock gRPC clients and Envoy, over one ADS stream each.

What of it is imported when the service starts is little: the rest is when the first client comes.
"""
