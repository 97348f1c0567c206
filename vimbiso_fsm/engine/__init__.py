"""The decision of a turn: a pure function from a document and an event to a new document."""
