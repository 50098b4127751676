//! Tests of what is pure here, and of the gate. Whole requests are tried in `tests/it/llm.rs`.
