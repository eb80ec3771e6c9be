//! Keeping two probes from writing what both of them see: a claim is a lock of the session
//! (section "Advisory Locks" of the manual), and ends with it.

use std::time::{Duration, Instant};

use netglass_model::HostId;

use super::{connect::Session, fault::Fault, identity};
use crate::Claim;

/// How long the server may hold what a connection that is lost had claimed.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Claims what a probe on `host` sees, instead of what was claimed before.
///
/// One namespace is the host's lock, shared with others, and its own one; all namespaces are the
/// host's lock alone.
pub(super) async fn claim(
    session: &Session,
    host: &HostId,
    claim: Claim,
    after_loss: bool,
) -> Result<(), Fault> {
    let deadline = Instant::now() + if after_loss { PATIENCE } else { Duration::ZERO };
    loop {
        if try_claim(session, host, claim).await? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Fault::Claimed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_claim(session: &Session, host: &HostId, claim: Claim) -> Result<bool, Fault> {
    session.run("SELECT pg_advisory_unlock_all()").await?;
    let (whole, one) = match claim {
        Claim::AllNamespaces => ("SELECT pg_try_advisory_lock($1)", None),
        Claim::Namespace(inode) => ("SELECT pg_try_advisory_lock_shared($1)", Some(inode)),
    };
    let take = async |statement: &str, key: i64| -> Result<bool, Fault> {
        let row = session.within(session.client.query_one(statement, &[&key])).await?;
        Ok(row.try_get(0)?)
    };
    let mut taken = take(whole, identity::claim(host, None)).await?;
    if taken && one.is_some() {
        taken = take("SELECT pg_try_advisory_lock($1)", identity::claim(host, one)).await?;
    }
    if !taken {
        session.run("SELECT pg_advisory_unlock_all()").await?;
    }
    Ok(taken)
}
