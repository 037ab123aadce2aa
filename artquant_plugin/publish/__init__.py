"""Publishing on the Hugging Face Hub: which files are uploaded, their card, and commits that a rerun leaves out."""
