//! Tests of shapes that feeds have, and of the tool against real servers.
mod servers;
mod shapes;
