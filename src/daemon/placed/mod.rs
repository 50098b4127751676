//! Runs that the leader places at other nodes. The leader's loop decides about them as about its own: what it tells a node is
//! an order, written with the decision that it follows from; what a node says is a report, removed with what is decided of it.
//! So neither is lost, nor done twice, whoever leads.
pub(super) mod left;
mod life;
pub(super) mod post;
pub(super) mod wire;
pub(super) mod worker;
pub(super) mod workplace;
