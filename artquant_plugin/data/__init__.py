"""Datasets: their form on the disk, their pictures, how they are found, imported and fetched from the Hub."""
