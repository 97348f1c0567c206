"""Encryption of what is stored of members: the settings, the keys, and the stores that encrypt and decrypt.

`settings.py` holds what an embedder gives, `keys.py` the key ring, `cipher.py` the ciphers (the only import of
`cryptography`), `parts.py` the values that are encrypted within a document, and `procedures.py` what is done for each
request. `store.py` holds the two stores, sync and async.
"""
