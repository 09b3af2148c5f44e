"""Converts models from and to Hugging Face transformers and stock fairseq."""
