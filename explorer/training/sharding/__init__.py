"""Where arrays are placed: meshes, rules from roles and paths to axes."""
