"""The server mends the trained model before its release."""
