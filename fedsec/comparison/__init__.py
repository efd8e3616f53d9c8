"""Holds results beside each other: what rows of a scorecard tell, harm, and what is compared by it."""
