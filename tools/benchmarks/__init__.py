"""The parts of ``tools/bench.py``; each measures one thing beside its baseline, in rounds."""
