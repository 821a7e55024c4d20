"""The server side of the ProjectX Gateway API: REST envelope and SignalR hubs in front of a venue."""
