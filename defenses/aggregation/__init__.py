"""Rules that turn the clients' rows into one update despite malicious rows among them."""
