//! The fleet on a full screen.
