//! In place of QUIC where this is built without it: what cannot be made, and so needs not be done.

#![allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::unused_async,
    clippy::unused_self,
    reason = "it is called as what it stands for"
)]

use std::{convert::Infallible, marker::PhantomData, net::SocketAddr, sync::Arc};

use crate::{
    record::{Failure, Id},
    recorder::Recorder,
    socket::SocketOptions,
    tls::Tls,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct QuicDialing<'a> {
    never: Infallible,
    _tls: PhantomData<&'a ()>,
}

#[derive(Debug)]
pub(crate) struct QuicStream {
    pub(crate) id: Id,
    pub(crate) never: Infallible,
}

pub(crate) struct Opened {
    never: Infallible,
}

impl<'a> QuicDialing<'a> {
    pub(crate) fn new(_: &'a Tls, _: Option<Id>, _: &'a str) -> Option<Self> {
        None
    }

    pub(crate) fn open(
        &self,
        _: &Arc<Recorder>,
        _: Id,
        _: SocketAddr,
        _: &SocketOptions,
    ) -> Result<(Id, Opened), Failure> {
        match self.never {}
    }
}

impl Opened {
    pub(crate) async fn connect(self) -> Result<QuicStream, Failure> {
        match self.never {}
    }
}

/// All connections of a client: none.
#[derive(Debug)]
pub(crate) struct Live;

impl Live {
    pub(crate) fn new(_: Arc<Recorder>) -> Arc<Self> {
        Arc::new(Self)
    }

    pub(crate) fn update(&self) {}

    pub(crate) fn close(&self) {}

    pub(crate) async fn say_farewell(&self) {}
}
