"""The report as static HTML pages that open from the disk, without a server."""
