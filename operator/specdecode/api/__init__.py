"""The resource: its types, its rules, its schema. Pure."""
