"""`artquant metrics`."""


def add_parser(subparsers):
    pass
