//! The page for the browser, served by the command line as a client of the socket like any other: nothing in the daemon
//! listens for it. Pages are made here, whole and readable without a script; the script keeps them fresh.
mod act;
mod admission;
mod admit;
mod ask;
mod frame;
mod html;
mod live;
mod pages;
mod peer;
mod serve;
mod state;
mod strip;

pub use serve::{WebOptions, serve};

#[cfg(test)]
mod tests;
