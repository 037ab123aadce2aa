"""The paper's experiments as studies: grids of trainings over seeds, with a table, a figure and one sentence each.

A study plans its trials (`plan`), `trials` carries out those that are missing, and the study makes an `Outcome` of
what they scored. `registry` lists all studies.
"""
