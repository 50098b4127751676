//! The news agent of `agents.example.toml`.
