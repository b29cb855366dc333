"""The load that relays are measured with: connections on plain sockets, frames made before the clock starts."""
