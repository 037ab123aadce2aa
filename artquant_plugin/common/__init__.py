"""What every room uses and what knows nothing of art: files, errors, the Hub, configurations, records of runs."""
