"""What a model is asked and what it answers: level words, labels, questions, chat templates, descriptions."""
