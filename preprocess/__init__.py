"""From raw text to fairseq's binarized data; imports neither torch nor fairseq, so that it starts at once."""
