//! A call to be written, for tests.

use std::time::Duration;

use netglass_model::{
    Call, CallConnection, CallName, CallPhase, Caller, CommandName, NamespaceInode, SocketPath,
    Timestamp,
};

/// wget sends its request.
pub(super) fn call() -> Call {
    Call {
        name: CallName::Write,
        phase: CallPhase::Returned,
        at: Timestamp::from_nanoseconds(1_700_000_000_000_700_000),
        duration: Some(Duration::from_nanos(12_345)),
        result: 146,
        length: Some(146),
        transferred: Some(146),
        fd: Some(3),
        caller: Caller {
            pid: 18_423,
            tid: 18_424,
            ppid: 18_422,
            uid: 1000,
            comm: CommandName::new(b"wget"),
            parent_comm: CommandName::new(b"sudo"),
        },
        family: Some(2),
        connection: Some(CallConnection {
            family: 2,
            protocol: 6,
            socket_type: 1,
            state: 1,
            local: Some(([127, 0, 0, 1], 57_032).into()),
            remote: Some(([127, 0, 0, 1], 80).into()),
            namespace: NamespaceInode(4_026_531_840),
            cookie: Some(77),
        }),
        paths: [SocketPath::NONE; 2],
        address: None,
        details: [0; 2],
    }
}
