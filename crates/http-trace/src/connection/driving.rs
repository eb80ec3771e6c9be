//! What makes a connection go on: HTTP is spoken over it for as long as this is polled.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::{oneshot, watch};

/// Ends with the connection, or when the client is closed.
///
/// The request that a connection was made for drives it until its response begins, as each hand-over to
/// a task costs a turn of the runtime. From there on it goes on by itself.
pub(crate) struct Driving(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Driving {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Driving")
    }
}

impl Driving {
    /// `end` is dropped when it has ended.
    pub(super) fn new(
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        mut closed: watch::Receiver<bool>,
        end: oneshot::Sender<()>,
    ) -> Self {
        Self(Box::pin(async move {
            tokio::select! {
                biased;
                // Whoever uses the connection is told of the error.
                _ = connection => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
            drop(end);
        }))
    }

    /// What comes of a request that is sent over it. Nothing is left of it where it ends meanwhile.
    pub(crate) fn during<T>(
        driving: &mut Option<Self>,
        mut request: Pin<&mut impl Future<Output = T>>,
    ) -> impl Future<Output = T> {
        std::future::poll_fn(move |context| {
            if let Poll::Ready(answer) = request.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            let Some(connection) = driving else { return Poll::Pending };
            if Pin::new(connection).poll(context).is_ready() {
                *driving = None;
            }
            // It may have brought the answer.
            request.as_mut().poll(context)
        })
    }
}

impl Future for Driving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
