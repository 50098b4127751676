//! The page in the browser, served by the command line as an ordinary client of the socket: the daemon itself has no
//! HTTP listener for it. Pages are rendered here and readable without a script; the script keeps them up to date.
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
