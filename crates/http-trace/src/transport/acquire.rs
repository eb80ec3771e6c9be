//! A connection for a request: one that another is done with, or a new one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::{sync::oneshot, task::JoinHandle};

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
            // A new one that is not ready has failed, and says how when it is used.
            if connection.is_ready().await || is_new {
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
        let (made, wait) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(make(
            Arc::clone(&self.maker),
            Arc::clone(&self.pool),
            target.clone(),
            request,
            Arc::clone(&begun),
            made,
        ));
        let mut making = Making { task, wanted: true };
        tokio::select! {
            biased;
            result = wait => {
                making.wanted = false;
                Ok((result.unwrap_or_else(|_| Err(closed()))?, true))
            }
            Ok(connection) = freed => {
                // One that is being made is for the next request.
                making.wanted = !begun.load(Relaxed);
                Ok((connection, false))
            }
        }
    }
}

/// A connection that is being made for a request. Where nobody wants it, it is given up.
struct Making {
    task: JoinHandle<()>,
    wanted: bool,
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.wanted {
            self.task.abort();
        }
    }
}

async fn make(
    maker: Arc<Maker>,
    pool: Arc<Pool>,
    target: Target,
    request: Option<Id>,
    begun: Arc<AtomicBool>,
    made: oneshot::Sender<Result<Connection, Failure>>,
) {
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
    let result = tokio::select! {
        result = making => result,
        _ = closed_by_client.wait_for(|closed| *closed) => Err(closed()),
    };
    let result = match result {
        Ok(connection) if connection.sender.is_shared() => {
            pool.put_shared(&target, connection).ok_or_else(closed)
        }
        result => result,
    };
    // Whoever wished for it may have been given another one meanwhile.
    if let Err(Ok(connection)) = made.send(result) {
        Lease { connection, pool, target }.give_back();
    }
}
