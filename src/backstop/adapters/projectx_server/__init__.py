"""The server side of the ProjectX Gateway API: REST and SignalR hubs in front of a venue."""
