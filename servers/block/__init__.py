"""The disk's driver."""
