"""The stored document of a member: its parts, its shape on the wire and its rules.

Its modules:

    ids               identifiers made by hashing, and instants
    document          the document as attrs classes
    json_codec        plain data as JSON, and back
    typed_data        typed data as plain data, and back
    differences       the differences between a value and its copy that was read back
    type_proof        the proof that the values of a type have a round trip
    data_types        the types that stored data may have, proven by their round trip
    shape             the shape of a stored document
    codec             documents as plain data and bytes, and back
    replies_codec     replies as plain data, and back
    state_validator   `StateValidator`: the rules that shape alone cannot state
"""
