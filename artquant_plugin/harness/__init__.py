"""What lmms-eval meets: the entry point that registers models and tasks, and the models themselves."""
