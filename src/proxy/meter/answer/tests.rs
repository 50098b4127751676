//! Tests of what is read of an answer.
