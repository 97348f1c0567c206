"""Import of records that the previous release stored under telephone numbers."""
