"""The client side of the ProjectX Gateway API: REST, both hubs, the session."""
