"""What comes after training: predictions of a finished model, their scores, files made of them."""
