"""Defenses that change an update before it leaves a client, without a proven guarantee."""
