"""The controller at scale, on a real API server, against what bare programs take for the same objects."""
