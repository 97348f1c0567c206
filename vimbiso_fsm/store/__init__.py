"""The store: atomic commits on Redis or Valkey, on an embedded server, or in memory."""
