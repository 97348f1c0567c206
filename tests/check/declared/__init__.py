"""Flows of several domains. Each function makes one; `# HERE code` marks the lines of the faults of a broken one."""
