"""All of the kernel that touches Linux: processes, memory files, sockets. The pure kernel imports nothing of it."""
