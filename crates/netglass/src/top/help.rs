//! What the keys do, in words.

/// What the screen shows where help is asked for.
pub(super) const TEXT: &str =
    "\x20Up, Down, j, k   the process before, or the next one; PgUp, PgDn, Home, End
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
 RECV-Q, SEND-Q   bytes that wait to be read, or to be acknowledged";
