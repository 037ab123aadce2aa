"""Importers: the annotation files of each dataset's authors become a dataset folder of this package's form."""
