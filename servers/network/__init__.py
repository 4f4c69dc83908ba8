"""The network server: a TCP/IP stack, and who may do what with it."""
