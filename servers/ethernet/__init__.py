"""The network card's driver."""
