"""What sets the system up on machines; nothing here is imported by a service."""
