"""Running text for masked-LM pre-training: from Wikipedia, books and plain text to fairseq's shards."""
