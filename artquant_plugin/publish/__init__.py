"""Publishing on the Hugging Face Hub: the files to upload, their card, and one commit if anything changed."""
