"""What memory managers are made of: pages, regions, memory objects, and L4's mapping database.

`libsel4py.pager` is the pager itself; docs/guide/memory_managers.md says when to use what.
"""
