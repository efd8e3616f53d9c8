"""The server looks for malicious updates, or for malicious parts of all of them."""
