//! Who belongs to whom, among those at either end of the same connections.

use std::collections::{BTreeMap, BTreeSet};

use netglass_model::Failures;

use super::{
    fold::Place,
    share::{matrix, shares},
    tally::{Precedence, Tally, unite},
};

/// Which client's place belongs to which server's place, each place once; without a partner where
/// it has none, or where there is no telling which.
pub(super) fn pair_places(
    mut clients: BTreeSet<Place>,
    mut servers: BTreeSet<Place>,
) -> Vec<(Option<Place>, Option<Place>)> {
    let mut pairs = Vec::new();
    for place in clients.intersection(&servers).copied().collect::<Vec<_>>() {
        clients.remove(&place);
        servers.remove(&place);
        pairs.push((Some(place), Some(place)));
    }
    let of_host = |places: &BTreeSet<Place>, host| {
        let mut places = places.iter().copied().filter(|place| place.host == host);
        places.next().filter(|_| places.next().is_none())
    };
    let hosts: BTreeSet<usize> = clients.iter().map(|place| place.host).collect();
    for host in hosts {
        if let (Some(client), Some(server)) = (of_host(&clients, host), of_host(&servers, host)) {
            clients.remove(&client);
            servers.remove(&server);
            pairs.push((Some(client), Some(server)));
        }
    }
    if let (1, 1) = (clients.len(), servers.len()) {
        pairs.push((clients.pop_first(), servers.pop_first()));
    }
    pairs.extend(clients.into_iter().map(|place| (Some(place), None)));
    pairs.extend(servers.into_iter().map(|place| (None, Some(place))));
    pairs
}

/// A client and a server, by their places in the lists, and what is between them.
pub(super) struct Pair {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) tally: Tally,
}

/// What is between each of several clients and each of several servers.
///
/// With one server, each client's own count is what it had with that server, and likewise with
/// one client. With several of both, the counts are shared out in proportion.
pub(super) fn pair_processes(clients: &[Tally], servers: &[Tally]) -> Vec<Pair> {
    let share = |count: &dyn Fn(&Tally) -> u64| -> BTreeMap<(usize, usize), u64> {
        let counts = |rows: &[Tally]| -> Vec<u64> { rows.iter().map(count).collect() };
        let (of_clients, of_servers) = (counts(clients), counts(servers));
        if servers.len() == 1 {
            of_clients.into_iter().enumerate().map(|(client, n)| ((client, 0), n)).collect()
        } else if clients.len() == 1 {
            of_servers.into_iter().enumerate().map(|(server, n)| ((0, server), n)).collect()
        } else {
            matrix(&of_clients, &of_servers)
        }
    };
    let cells = cells(share(&|tally| tally.connections), |kind| {
        share(&|tally| tally.failed.counts()[kind])
    });

    let client_parts = split_rows(clients, cells.iter().map(|(cell, n)| (cell.0, *n)));
    let server_parts = split_rows(servers, cells.iter().map(|(cell, n)| (cell.1, *n)));
    let precedence = if clients.len() == 1 { Precedence::Server } else { Precedence::Client };
    let exact = clients.len() == 1 || servers.len() == 1;
    cells
        .into_iter()
        .zip(client_parts.into_iter().zip(server_parts))
        .map(|(((client, server), (connections, failed)), (client_part, server_part))| {
            let mut tally = unite(&client_part, &server_part, precedence, connections, failed);
            let own = if precedence == Precedence::Client { client_part } else { server_part };
            if exact {
                (tally.first_seen, tally.last_seen) = (own.first_seen, own.last_seen);
            } else {
                let first = client_part.first_seen.max(server_part.first_seen);
                let last = client_part.last_seen.min(server_part.last_seen);
                if first <= last {
                    (tally.first_seen, tally.last_seen) = (first, last);
                }
            }
            Pair { client, server, tally }
        })
        .collect()
}

/// Connections and failures by row and column.
type Cells = BTreeMap<(usize, usize), (u64, Failures)>;

/// Puts connections and each kind of failures into one table.
fn cells(
    connections: BTreeMap<(usize, usize), u64>,
    failed: impl Fn(usize) -> BTreeMap<(usize, usize), u64>,
) -> Cells {
    let mut cells: BTreeMap<(usize, usize), (u64, [u64; Failures::KINDS])> = BTreeMap::new();
    for (cell, connections) in connections {
        cells.entry(cell).or_default().0 = connections;
    }
    for kind in 0..Failures::KINDS {
        for (cell, failed) in failed(kind) {
            cells.entry(cell).or_default().1[kind] = failed;
        }
    }
    cells
        .into_iter()
        .map(|(cell, (connections, failed))| (cell, (connections, Failures::from_counts(failed))))
        .collect()
}

/// A part of a row, by their places in the lists; `column` is `None` for what is left.
pub(super) struct Part {
    pub(super) row: usize,
    pub(super) column: Option<usize>,
    pub(super) tally: Tally,
}

/// Shares out what each row counted over columns that had as many connections, attempts included,
/// as `weights` say: in proportion, at most as many as those, and what is more is left.
pub(super) fn distribute(rows: &[Tally], weights: &[u64]) -> Vec<Part> {
    let sum = |counts: &[u64]| counts.iter().copied().fold(0, u64::saturating_add);
    let counts = |count: &dyn Fn(&Tally) -> u64| rows.iter().map(count).collect::<Vec<_>>();
    let offered = sum(weights);
    // The columns of a total of which `offered` at most are not left.
    let columns = |total: u64, offered: u64| {
        let taken = total.min(offered);
        let mut columns = if taken == 0 { vec![0; weights.len()] } else { shares(taken, weights) };
        columns.push(total - taken);
        columns
    };
    let connections = counts(&|row| row.connections);
    let of_connections = columns(sum(&connections), offered);
    let attempts = counts(&|row| row.failed.total());
    let of_attempts = columns(sum(&attempts), offered.saturating_sub(sum(&connections)));
    let cells = cells(matrix(&connections, &of_connections), |kind| {
        let failed = counts(&|row| row.failed.counts()[kind]);
        let total = sum(&failed);
        if total == 0 { BTreeMap::new() } else { matrix(&failed, &shares(total, &of_attempts)) }
    });
    let column = |index| (index < weights.len()).then_some(index);
    let mut parts: Vec<Part> = split_rows(rows, cells.iter().map(|(cell, n)| (cell.0, *n)))
        .into_iter()
        .zip(&cells)
        .map(|(tally, (&(row, index), &(connections, failed)))| Part {
            row,
            column: column(index),
            tally: Tally { connections, failed, ..tally },
        })
        .collect();
    // What has neither connections nor attempts has no share.
    let idle = rows.iter().enumerate().filter(|(row, _)| !cells.keys().any(|it| it.0 == *row));
    parts.extend(idle.map(|(row, tally)| Part { row, column: None, tally: *tally }));
    parts
}

/// Splits what each row counted among its cells, of which `cells` gives, in order, the row and the
/// connections and failures. The parts are in the order of the cells.
fn split_rows(rows: &[Tally], cells: impl Iterator<Item = (usize, (u64, Failures))>) -> Vec<Tally> {
    let mut of_row: Vec<Vec<(usize, u64)>> = vec![Vec::new(); rows.len()];
    let mut total = 0;
    for (cell, (row, (connections, failed))) in cells.enumerate() {
        of_row[row].push((cell, connections.saturating_add(failed.total())));
        total += 1;
    }
    let mut parts: Vec<Option<Tally>> = vec![None; total];
    for (row, cells) in rows.iter().zip(of_row) {
        let weights: Vec<u64> = cells.iter().map(|&(_, weight)| weight).collect();
        for ((cell, _), part) in cells.into_iter().zip(row.split(&weights)) {
            parts[cell] = Some(part);
        }
    }
    parts.into_iter().flatten().collect()
}
