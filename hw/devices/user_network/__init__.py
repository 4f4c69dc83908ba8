"""A network for one guest without privilege: its gateway, which ends the guest's connections on sockets of the host.

A process of its own (`python -m hw.devices.user_network`), on a descriptor of Ethernet frames. See
docs/manual/virtio_net.md.
"""
