"""Names in the state folder; other programs and people rely on them."""

AUDIT_DATABASE = "audit.db"
CHECKPOINT_FOLDER = "checkpoints"
KEY_FOLDER = "keys"
CRASH_FOLDER = "crash"
