"""The stored document of a member: its parts, its shape on the wire and its rules.

Its modules:

    ids               identifiers made by hashing, and instants of the store's clock
    document          the document as attrs classes
    codec             JSON, typed data, and the shape of a document
    replies_codec     replies as they are kept
    state_validator   `StateValidator`: what shape alone cannot say
"""
