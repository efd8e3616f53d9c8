"""Homomorphic aggregation: the server adds ciphertexts up, and whoever holds the key decrypts the sum."""
