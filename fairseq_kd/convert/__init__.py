"""Converts models from and to Hugging Face transformers, and to ONNX and stock fairseq."""
