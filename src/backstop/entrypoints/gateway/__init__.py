"""The protective gateway: the guard speaks the ProjectX API to bots of this machine."""
