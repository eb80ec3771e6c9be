//! References between the records of a trace.

use std::{collections::HashSet, sync::Arc};

use crate::record::{DialOutcome, HttpTrace, Id, Via};

/// Removes those to records that are not in the trace.
pub(super) fn remove_dangling(trace: &mut HttpTrace) {
    let dials: HashSet<Id> = trace.dials.iter().map(|dial| dial.id).collect();
    let tls: HashSet<Id> = trace.tls.iter().map(|tunnel| tunnel.id).collect();
    let connects: HashSet<Id> = trace.connects.iter().map(|connect| connect.id).collect();
    let requests: HashSet<Id> = trace.requests.iter().map(|request| request.id).collect();
    let connections: HashSet<Id> =
        (trace.tcp.iter().map(|tcp| tcp.id)).chain(trace.udp.iter().map(|udp| udp.id)).collect();
    let keep = |known: &HashSet<Id>, reference: &mut Option<Id>| {
        *reference = reference.filter(|id| known.contains(id));
    };
    let dangles = |known: &HashSet<Id>, reference: Option<Id>| {
        reference.is_some_and(|id| !known.contains(&id))
    };
    for dial in &mut trace.dials {
        let connection_dangles = dangles(&connections, dial.outcome.connection())
            || dial.attempts.iter().any(|attempt| dangles(&connections, attempt.connection))
            || dial.resolver_dials.iter().any(|dial| dangles(&connections, dial.connection));
        if !connection_dangles && !dangles(&requests, dial.request) {
            continue;
        }
        let dial = Arc::make_mut(dial);
        keep(&requests, &mut dial.request);
        if let DialOutcome::Connected { connection } = &mut dial.outcome {
            keep(&connections, connection);
        }
        for attempt in &mut dial.attempts {
            keep(&connections, &mut attempt.connection);
        }
        for resolver_dial in &mut dial.resolver_dials {
            keep(&connections, &mut resolver_dial.connection);
        }
    }
    for tcp in trace.tcp.iter_mut().filter(|tcp| dangles(&dials, tcp.dial)) {
        Arc::make_mut(tcp).dial = None;
    }
    for udp in trace.udp.iter_mut().filter(|udp| dangles(&dials, udp.dial)) {
        Arc::make_mut(udp).dial = None;
    }
    for exchange in &mut trace.dns {
        if dangles(&dials, exchange.dial) || dangles(&connections, exchange.connection) {
            let exchange = Arc::make_mut(exchange);
            keep(&dials, &mut exchange.dial);
            keep(&connections, &mut exchange.connection);
        }
    }
    for tunnel in &mut trace.tls {
        if dangles(&connections, tunnel.connection) || dangles(&requests, tunnel.request) {
            let tunnel = Arc::make_mut(tunnel);
            keep(&connections, &mut tunnel.connection);
            keep(&requests, &mut tunnel.request);
        }
    }
    for connect in &mut trace.connects {
        if dangles(&connections, connect.connection) || dangles(&requests, connect.request) {
            let connect = Arc::make_mut(connect);
            keep(&connections, &mut connect.connection);
            keep(&requests, &mut connect.request);
        }
    }
    // Nobody else has those: they were completed for the trace.
    for request in trace.requests.iter_mut().map(Arc::make_mut) {
        keep(&connections, &mut request.connection);
        keep(&dials, &mut request.dial);
        keep(&tls, &mut request.tls);
        keep(&tls, &mut request.proxy_tls);
        keep(&connects, &mut request.proxy_connect);
        for used in &mut request.uses {
            keep(&connections, &mut used.connection);
        }
        if let Some(Via::Redirect { from, .. }) = &mut request.via {
            keep(&requests, from);
        }
    }
}
