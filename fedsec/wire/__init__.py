"""What crosses the network, and the one place where everything that a client sends is checked."""
