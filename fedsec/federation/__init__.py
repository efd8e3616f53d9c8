"""The federation itself: client sampling, local training, the round loop and the server's step."""
