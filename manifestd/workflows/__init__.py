"""What a user asks for, from start to end."""
