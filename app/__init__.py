"""A small shop: the sample application whose migrations this repository deploys. Put yours in its place."""
