"""The command line, one verb per file: `main` lists the verbs and imports the one that was asked for."""
