"""What several reconstruction attacks share."""
