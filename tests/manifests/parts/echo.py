"""An image; it is looked for and never run."""
