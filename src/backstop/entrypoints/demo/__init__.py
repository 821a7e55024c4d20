"""`backstop demo`: simulator, guard and orchestrator in one terminal, faults as they happen."""
