"""The stored document of a member: its classes, its JSON form and its rules."""
