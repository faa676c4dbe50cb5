"""Where arrays lie: meshes, rules from roles and paths to axes."""
