"""Code that every room uses and that knows nothing of paintings: files, errors, the Hub, configurations, records."""
