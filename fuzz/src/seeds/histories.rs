//! Frames of training reads.

use thermae_formats::wire::{
    HistoryJoin, HistoryPut, HistoryReply, HistoryRequest, HistorySteps, HistoryTally, Kind,
    encode_history_step,
};

use super::{Frames, MAX_BYTES, frame};

/// Every step, and an answer with and without bytes.
pub(super) fn histories() -> Frames {
    let join = HistoryJoin {
        view: "nyc/weather@1",
        alias: "at_dest",
        features: vec!["temp", "visib"],
        columns: vec![("origin", "dest")],
    };
    let other = HistoryJoin { view: "planes", ..HistoryJoin::default() };
    let request = HistoryRequest {
        as_of_known: true,
        full_names: false,
        threads: 2,
        budget_bytes: 1 << 26,
        time_column: "time_hour",
        joins: vec![join, other],
    };
    let steps = HistorySteps { rows: 3, read: 3, to_join: 6, joined: 2, answered: 1 };
    let busy = HistoryReply { steps, ..HistoryReply::default() };
    let tallies = vec![HistoryTally { present: 2, outside_max_age: 1 }; 2];
    let done = HistoryReply { over: true, steps, tallies, bytes: &[7; 40] };
    let step = |kind| {
        move |out: &mut Vec<u8>| {
            encode_history_step(out, kind, 8);
            Ok(())
        }
    };
    [
        frame("history", |out| request.encode(out, 8, MAX_BYTES)),
        frame("history-put", |out| {
            HistoryPut { last: true, bytes: &[5; 9] }.encode(out, 8, MAX_BYTES)
        }),
        frame("history-next", step(Kind::HistoryNext)),
        frame("history-end", step(Kind::HistoryEnd)),
        frame("history-busy", |out| busy.encode(out, 8, MAX_BYTES)),
        frame("history-done", |out| done.encode(out, 8, MAX_BYTES)),
    ]
    .concat()
}
