//! A connection for a request: one that another is done with, or a new one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{Lease, Transport, closed};
use crate::{
    connection::{Connection, Maker},
    pool::{Checkout, Pool, Target},
    record::{Failure, Id},
};

impl Transport {
    /// Whichever is there first: a connection that another request is done with, or a new one.
    pub(super) async fn connection(
        &self,
        request: Option<Id>,
        target: &Target,
    ) -> Result<Connection, Failure> {
        loop {
            let (mut connection, is_new) = self.some_connection(request, target).await?;
            // A new one takes a request before it is driven. Where it failed, it says so then.
            if is_new || connection.is_ready().await {
                return Ok(connection);
            }
        }
    }

    async fn some_connection(
        &self,
        request: Option<Id>,
        target: &Target,
    ) -> Result<(Connection, bool), Failure> {
        let freed = match self.pool.check_out(target) {
            Checkout::Ready(connection) => return Ok((connection, false)),
            Checkout::Wait(freed) => freed,
        };
        let begun = Arc::new(AtomicBool::new(false));
        // On the heap, so that it can go on when nobody waits for it here any more.
        let mut making = Box::pin(make(
            Arc::clone(&self.maker),
            Arc::clone(&self.pool),
            target.clone(),
            request,
            Arc::clone(&begun),
        ));
        tokio::select! {
            biased;
            made = &mut making => Ok((made?, true)),
            Ok(connection) = freed => {
                if begun.load(Relaxed) {
                    // It is for the next request.
                    let (pool, target) = (Arc::clone(&self.pool), target.clone());
                    tokio::spawn(async move {
                        if let Ok(connection) = making.await {
                            Lease { connection, pool, target }.give_back();
                        }
                    });
                }
                Ok((connection, false))
            }
        }
    }
}

/// Makes a connection. `begun` turns true once it is dialled.
async fn make(
    maker: Arc<Maker>,
    pool: Arc<Pool>,
    target: Target,
    request: Option<Id>,
    begun: Arc<AtomicBool>,
) -> Result<Connection, Failure> {
    let mut closed_by_client = maker.closed.clone();
    let making = async {
        let turn = match pool.turns(&target) {
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        begun.store(true, Relaxed);
        let (host, port) = maker.first_hop(&target);
        let dial = maker.connector.begin(request, &host, &port);
        maker.recorder.request(request, |request| request.dial = Some(dial));
        maker.make(dial, request, &target, turn).await
    };
    let connection = tokio::select! {
        biased;
        result = making => result?,
        _ = closed_by_client.wait_for(|closed| *closed) => return Err(closed()),
    };
    if connection.sender.is_shared() {
        // Whether requests of the same moment dial too should not depend on how soon the server answered.
        tokio::task::yield_now().await;
        return pool.put_shared(&target, connection).ok_or_else(closed);
    }
    Ok(connection)
}
