"""What authority a system's tasks can ever come to hold: computed from a description, a live system or an image."""
