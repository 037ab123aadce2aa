"""`artquant data`: make or import a dataset."""
def add_parser(subparsers): pass
