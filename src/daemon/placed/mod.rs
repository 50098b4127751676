//! Runs that the leader places at other nodes. The leader's loop decides about them as about its
//! own: an order to a node is committed with the decision that causes it, and a report of a node is
//! removed in the commit that decides about it. So neither is lost or handled twice, whichever node
//! leads.
pub(super) mod left;
mod life;
pub(super) mod post;
pub(super) mod wire;
pub(super) mod worker;
pub(super) mod workplace;
