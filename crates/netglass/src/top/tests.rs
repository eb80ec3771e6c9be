//! From what is known to the screen, and from keys to what is known.

use std::time::Duration;

use netglass_kernel::{calls::SumCounts, socket::SocketState};
use netglass_model::{CallName, CallingProcess, CommandName, Timestamp};
use ratatui::{Terminal, backend::TestBackend, style::Color, termion::event::Key};

use super::{
    arguments::Column,
    connections::{Connection, Connections},
    sample::{Activity, Sample, SumLedger},
    screen,
    state::{Mode, Reaction, State},
};

fn activity(pid: u32, comm: &str, sent: u64, received: u64, errors: u64) -> Activity {
    let process = CallingProcess {
        pid,
        ppid: 1,
        pgid: Some(pid),
        uid: 54321,
        comm: CommandName::new(comm.as_bytes()),
        parent_comm: CommandName::new(b"init"),
        started: None,
    };
    let mut activity = Activity::new(process);
    (activity.sent, activity.received) = (sent, received);
    (activity.calls, activity.errors) = (100 + errors, errors);
    activity.by_call.insert(CallName::Write, 100);
    if errors > 0 {
        activity.by_call.insert(CallName::Recvfrom, errors);
        activity.by_error.insert(11, errors);
    }
    // 12 µs, and one of them 1 ms.
    activity.latencies.add(Some(28), 99);
    activity.latencies.add(Some(54), 1);
    activity
}

fn sample(activities: Vec<Activity>, full: u64) -> Sample {
    let calls = activities.iter().map(|it| it.calls).sum();
    Sample {
        at: Timestamp::from_nanoseconds(1_700_000_000_000_000_000),
        elapsed: Duration::from_secs(1),
        activities,
        counts: SumCounts { seen: calls + full, collected: calls, full, ..SumCounts::default() },
    }
}

fn usual() -> Sample {
    sample(
        vec![
            activity(901, "postgres", 20_000, 1_000, 0),
            activity(830, "nginx", 5_000_000, 300_000, 7),
            activity(77, "e\x1b[2Jvil", 0, 512, 0),
        ],
        0,
    )
}

fn connections() -> Connections {
    Connections::Known(vec![
        Connection {
            fd: 3,
            protocol: "tcp".to_owned(),
            state: Some(SocketState::Established),
            local: "10.0.0.10:80".to_owned(),
            remote: "10.0.0.11:57032".to_owned(),
            rtt: Some(Duration::from_micros(250)),
            retransmits: Some(2),
            receive_queue: Some(0),
            send_queue: Some(4096),
            sent: Some(5_000_000),
            received: Some(300_000),
        },
        Connection {
            fd: 6,
            protocol: "tcp".to_owned(),
            state: Some(SocketState::Listen),
            local: "[2001:db8:1234:5678:9abc:def0:1234:5678]:80".to_owned(),
            receive_queue: Some(0),
            send_queue: Some(511),
            ..Connection::default()
        },
    ])
}

fn state() -> State {
    let mut state = State::new(Duration::from_secs(1), Column::Throughput, true, Vec::new());
    state.update(&usual());
    state.set_connections(connections(), 0);
    state
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        assert_eq!(state.key(Key::Char(key)), Reaction::GoOn);
    }
}

fn drawn(state: &State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, state)).unwrap();
    terminal
}

fn shown(state: &State, width: u16, height: u16) -> String {
    let terminal = drawn(state, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

#[test]
fn processes_stand_over_the_connections_of_the_one_that_is_selected() {
    insta::assert_snapshot!(shown(&state(), 120, 18), @r"
    netglass top  every 1s, by throughput
    3 processes   sent 4.8 MiB/s   received 294.4 KiB/s   307 calls/s   7 errors/s
        PID USER       NAME                                          SENT/s  RECEIVED/s   CALLS/s ERRORS/s      P50      P99
        830 54321      nginx                                        4.8 MiB   293.0 KiB       107        7     15us     16us
        901 54321      postgres                                    19.5 KiB      1000 B       100        0     15us     16us
         77 54321      e\u{1b}[2Jvil                                    0 B       512 B       100        0     15us     16us


    ── 830 nginx ───────────────────────────────────────────────────────────────────────────────────────────────────────────
    calls:  write 100/s, recvfrom 7/s
    errors: EAGAIN 7/s
      FD PROTO  STATE       LOCAL                    REMOTE                     RTT RETR RECV-Q SEND-Q     SENT/s RECEIVED/s
       3 tcp    ESTABLISHED 10.0.0.10:80             10.0.0.11:57032          250us    2      0   4096    4.8 MiB  293.0 KiB
       6 tcp    LISTEN      …abc:def0:1234:5678]:80                               -    -      0    511          -          -



    Up/Down select  Tab connections  s sort  / filter  f freeze  ? help  q quit
    ");
}

#[test]
fn a_narrow_terminal_has_room_for_what_matters_most() {
    insta::assert_snapshot!(shown(&state(), 80, 18), @r"
    netglass top  every 1s, by throughput
    3 processes   sent 4.8 MiB/s   received 294.4 KiB/s   307 calls/s   7 errors/s
        PID USER       NAME                    SENT/s  RECEIVED/s   CALLS/s ERRORS/s
        830 54321      nginx                  4.8 MiB   293.0 KiB       107        7
        901 54321      postgres              19.5 KiB      1000 B       100        0
         77 54321      e\u{1b}[2Jvil              0 B       512 B       100        0


    ── 830 nginx ───────────────────────────────────────────────────────────────────
    calls:  write 100/s, recvfrom 7/s
    errors: EAGAIN 7/s
      FD STATE       LOCAL              REMOTE                RTT RETR RECV-Q SEND-Q
       3 ESTABLISHED 10.0.0.10:80       10.0.0.11:57032     250us    2      0   4096
       6 LISTEN      …f0:1234:5678]:80                          -    -      0    511



    Up/Down select  Tab connections  s sort  / filter  f freeze  ? help  q quit
    ");
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    insta::assert_snapshot!(shown(&state(), 60, 4), @"
    This terminal is too small: 60x4, and it takes 80x18. Make
    it larger, or press q to quit.
    ");
    // Whatever its size, it is drawn.
    for (width, height) in [(1, 1), (3, 40), (79, 18), (80, 17), (500, 200)] {
        shown(&state(), width, height);
    }
}

#[test]
fn help_says_what_the_keys_do() {
    let mut state = state();
    press(&mut state, "?");
    insta::assert_snapshot!(shown(&state, 80, 18), @"
    netglass top  every 1s, by throughput
    3 processes   sent 4.8 MiB/s   received 294.4 KiB/s   307 calls/s   7 errors/s
     Up, Down, j, k   the process before, or the next one; PgUp, PgDn, Home, End
     Tab, Enter       go through the connections of the process, and back
     s, >  or  S, <   sort by the next column, or by the one before
     r                the other way round
     /                show only processes with these letters in name, user or id
     Esc              without filter
     f, Space         stand still; what is lost is told all the same
     ?                this help
     q, Ctrl-C        quit

     SENT, RECEIVED   bytes through sockets
     CALLS, ERRORS    system calls on sockets, and those of them that failed
     P50, P99         half of the calls were faster than this, and 99 of 100
     RETR             segments of TCP that were sent again
     RECV-Q, SEND-Q   bytes that wait to be read, or to be acknowledged
    any key back
    ");
    press(&mut state, "x");
    assert_eq!(state.mode, Mode::Browsing);
}

#[test]
fn before_the_first_sample_it_says_that_there_is_nothing() {
    let state = State::new(Duration::from_secs(2), Column::Calls, true, vec!["a note".to_owned()]);
    insta::assert_snapshot!(shown(&state, 80, 18), @"
    netglass top  every 2s, by calls
    0 processes   sent 0 B/s   received 0 B/s   0 calls/s   0 errors/s
    a note
        PID USER       NAME                    SENT/s  RECEIVED/s   CALLS/s ERRORS/s
    No process has used a socket yet.




    ── no process ──────────────────────────────────────────────────────────────────


      FD STATE       LOCAL              REMOTE                RTT RETR RECV-Q SEND-Q
    It has no sockets of these families open now.



    Up/Down select  Tab connections  s sort  / filter  f freeze  ? help  q quit
    ");
}

#[test]
fn a_loss_is_said_at_once_even_while_it_is_frozen() {
    let mut state = state();
    press(&mut state, "f");
    let before = shown(&state, 120, 18);
    assert!(before.contains("FROZEN"), "{before}");
    state.update(&sample(vec![activity(1, "new", 1 << 40, 0, 0)], 12));
    let after = shown(&state, 120, 19);
    assert!(after.contains("12 calls are not shown"), "{after}");
    assert!(!after.contains("new") && after.contains("nginx"), "{after}");
    press(&mut state, " ");
    state.update(&sample(vec![activity(1, "new", 1 << 40, 0, 0)], 12));
    assert!(shown(&state, 120, 18).contains("1.0 TiB"));
}

#[test]
fn processes_are_sorted_by_any_column() {
    let order = |state: &State| -> Vec<u32> { state.rows().iter().map(|it| it.key.pid).collect() };
    let mut state = state();
    assert_eq!(order(&state), [830, 901, 77]);
    press(&mut state, "r");
    assert_eq!(order(&state), [77, 901, 830]);
    press(&mut state, "rss");
    assert_eq!((state.sort, order(&state)), (Column::Received, vec![830, 901, 77]));
    press(&mut state, "sss");
    assert_eq!((state.sort, order(&state)), (Column::Name, vec![77, 830, 901]));
    press(&mut state, "sS");
    assert_eq!(state.sort, Column::Name);
    press(&mut state, "s");
    assert_eq!((state.sort, order(&state)), (Column::Pid, vec![77, 830, 901]));
}

#[test]
fn what_is_selected_stays_so_wherever_it_goes() {
    let mut state = state();
    assert_eq!(state.selected().map(|it| it.pid), Some(830), "the busiest one");
    state.key(Key::Down);
    assert_eq!(state.selected().map(|it| it.pid), Some(901));
    assert_eq!(state.connections, Connections::Known(Vec::new()), "those of another process");
    state.update(&sample(vec![activity(901, "postgres", 1 << 40, 0, 0)], 0));
    assert_eq!((state.place(), state.selected().map(|it| it.pid)), (Some(0), Some(901)));
    state.key(Key::End);
    assert_eq!(state.place(), Some(2));
    state.key(Key::Down);
    assert_eq!(state.place(), Some(2), "it is the last one");
    state.key(Key::PageUp);
    assert_eq!(state.place(), Some(0));
    for _ in 0..11 {
        state.update(&sample(vec![activity(77, "e\x1b[2Jvil", 1, 0, 0)], 0));
    }
    assert_eq!(state.rows().len(), 1, "who does nothing any more goes");
    assert_eq!(state.selected().map(|it| it.pid), Some(77));
}

#[test]
fn a_filter_leaves_what_has_its_letters() {
    let mut state = state();
    press(&mut state, "/PostQ");
    assert_eq!(state.rows().len(), 0, "q is a letter here");
    let text = shown(&state, 100, 18);
    assert!(text.contains("filter: PostQ_") && text.contains("No process fits"), "{text}");
    state.key(Key::Backspace);
    assert_eq!(state.selected().map(|it| it.pid), Some(901));
    press(&mut state, "\n");
    assert_eq!(state.key(Key::Down), Reaction::GoOn);
    assert_eq!((state.rows().len(), state.filter.as_str()), (1, "Post"));
    state.key(Key::Esc);
    assert_eq!(state.rows().len(), 3);
    press(&mut state, "/83\n");
    assert_eq!(state.rows().len(), 1, "ids count, too");
    press(&mut state, &format!("/{}\n", "x".repeat(1000)));
    assert!(state.filter.len() <= 66);
}

#[test]
fn connections_are_gone_through() {
    let mut state = state();
    press(&mut state, "\t");
    state.key(Key::Down);
    let text = shown(&state, 100, 18);
    assert!(text.contains("LISTEN") && !text.contains("ESTABLISHED"), "{text}");
    state.key(Key::Down);
    assert_eq!(state.first_connection, 1, "it is the last one");
    state.set_connections(connections(), 12);
    assert!(shown(&state, 100, 18).contains("── 830 nginx: 12 sockets more than are shown ──"));
    state.set_connections(Connections::Unknown("it has ended\x1b".to_owned()), 0);
    let text = shown(&state, 100, 18);
    assert!(text.contains("not known: it has ended\\u{1b}"), "{text}");
    state.key(Key::Esc);
    assert_eq!(state.mode, Mode::Browsing);
}

#[test]
fn keys_end_it() {
    let mut state = state();
    assert_eq!(state.key(Key::Char('q')), Reaction::End);
    press(&mut state, "/");
    assert_eq!(state.key(Key::Ctrl('c')), Reaction::End);
}

#[test]
fn without_colours_there_are_none() {
    let mut state = state();
    let colors = |state: &State| {
        let terminal = drawn(state, 120, 18);
        let cells = &terminal.backend().buffer().content;
        cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colors(&state) > 0);
    state.is_colored = false;
    assert_eq!(colors(&state), 0);
}

#[test]
fn the_ledger_accounts_for_every_call() {
    let ledger = |counts| SumLedger(counts).to_string();
    let counts = SumCounts { seen: 10, collected: 7, filtered: 2, full: 1, ..SumCounts::default() };
    assert_eq!(
        ledger(counts),
        "10 calls = 7 added up + 2 filtered + 1 lost (1 no room for another sum)"
    );
    let counts = SumCounts { seen: 1, collected: 1, ..SumCounts::default() };
    assert_eq!(ledger(counts), "1 call = 1 added up + 0 filtered + 0 lost");
}
