"""SQLite: blobs by digest are the truth, tables are an index that can be remade."""
