"""Reading a text off the embeddings' gradients by least squares."""
