//! Tests of the SQLite half.
