"""Archives: older audit entries, in files or in a database, so that the store keeps a bounded number of them.

A worker moves the oldest entries of a member from the store to the archive. `ArchivedStore` stands around a store and
answers with both as one. Only managers that are given an archive load more of this package than `keeping`.

    keeping      the bounds of what stays in the store, and the `Archive` protocol
    joining      pure rules: what is added to an archive, what an erasure leaves, and both parts as one chain
    json_lines   an archive in files, one per member
    sql          an archive in a database; the only import of SQLAlchemy
    opening      the archive of a URL
    procedures   what is done for each request
    store        `ArchivedStore` and `AsyncArchivedStore`
"""
