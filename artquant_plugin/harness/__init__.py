"""What lmms-eval loads: the entry point that registers our models and tasks, and the models themselves."""
