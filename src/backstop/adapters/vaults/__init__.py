"""Places where secrets are kept, one file each; a vendor's SDK loads when its vault is asked."""
