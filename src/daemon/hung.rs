//! Questions to records on a server that hangs: its connections stay, and nothing is answered. Who asks a daemon that stands by
//! is told so within seconds, however long the connection would be waited for.
use crate::protocol::{Code, RpcError};
use crate::store::NodeLink;
use std::sync::Arc;
use std::time::Duration;

/// An answer that takes longer may be a long one, or the server hangs: it is asked something small.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// How long that may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// An answer, for as long as the server answers anything at all.
///
/// # Errors
/// It does not, or can't be reached.
pub(super) async fn unless_hung<T>(
    link: Option<Arc<NodeLink>>,
    answer: impl Future<Output = T>,
) -> Result<T, RpcError> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let pause = async {
            match &link {
                Some(_) => tokio::time::sleep(LOOK_AFTER).await,
                None => std::future::pending().await,
            }
        };
        let late = tokio::select! {
            answer = &mut answer => return Ok(answer),
            () = pause => is_late(link.as_ref()),
        };
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            late = late => if let Some(what) = late {
                let hint = "the database, or the way to it, does not answer: see to that, then ask again";
                return Err(RpcError::new(Code::Refused, what).hint(hint));
            },
        }
    }
}

/// Why no answer is to be expected; `None`: one is.
async fn is_late(link: Option<&Arc<NodeLink>>) -> Option<String> {
    let link = link?;
    match tokio::time::timeout(ANSWERS_WITHIN, link.lead()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("the records can't be read: {error}")),
        Err(_) => {
            let secs = (LOOK_AFTER + ANSWERS_WITHIN).as_secs();
            Some(format!("the records can't be read: {} has not answered for {secs} s", link.place()))
        }
    }
}
