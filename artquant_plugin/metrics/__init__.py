"""How well predictions agree with people: SROCC, PLCC, their intervals, and the comparison of models."""
