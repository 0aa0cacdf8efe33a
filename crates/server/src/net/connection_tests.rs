//! Hostile and unlucky peers against one connection, under a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use thermae_formats::wire::{Kind, begin_frame, finish_frame};

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A connection with a handler that answers every frame with `answer_bytes` or leaves it waiting.
struct Bench {
    connection: Connection,
    limits: Limits,
    budget: Budget,
    answer_bytes: Option<usize>,
    seen: Vec<u64>,
    now_ns: u64,
}

impl Bench {
    fn new(phase: Phase) -> Self {
        let limits = Limits { in_flight: 8, queued_output_bytes: 10_000, ..Limits::default() };
        let mut connection = Connection::new(ConnId::new(0, 0), false, &limits, 0);
        connection.phase = phase;
        let budget = Budget { limit_bytes: 1 << 20, held_bytes: 0 };
        Self { connection, limits, budget, answer_bytes: Some(100), seen: vec![], now_ns: 0 }
    }

    fn receive(&mut self, data: &[u8]) -> Option<Cut> {
        let (seen, answer) = (&mut self.seen, self.answer_bytes);
        self.connection.receive(
            data,
            &self.limits,
            &self.budget,
            self.now_ns,
            &mut |connection: &mut Connection, frame: &Frame<'_>| {
                seen.push(frame.request_id);
                match answer {
                    Some(bytes) => connection.out.resize(connection.out.len() + bytes, 0),
                    None => connection.in_flight += 1,
                }
            },
        )
    }

    fn go_on(&mut self) -> Option<Cut> {
        let seen = &mut self.seen;
        self.connection.go_on(
            &self.limits,
            &self.budget,
            self.now_ns,
            &mut |connection: &mut Connection, frame: &Frame<'_>| {
                seen.push(frame.request_id);
                connection.in_flight += 1;
            },
        )
    }

    fn overdue(&mut self, at_ns: u64) -> Option<Overdue> {
        self.now_ns = at_ns;
        let queued = self.connection.sending_bytes;
        self.connection.overdue(queued, &self.limits, at_ns)
    }

    fn error(&self) -> (ErrorCode, u64) {
        let (frame, _) = split_frame(&self.connection.out, 1 << 20).unwrap().unwrap();
        (ErrorReply::decode(&frame).unwrap().known().unwrap(), frame.request_id)
    }
}

fn frame(id: u64, payload_bytes: usize) -> Vec<u8> {
    frame_of(Kind::Ping, id, payload_bytes)
}

fn frame_of(kind: Kind, id: u64, payload_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out, kind, id);
    out.resize(out.len() + payload_bytes, 5);
    finish_frame(&mut out, start, u32::MAX).unwrap();
    out
}

#[test]
fn frames_come_whole_whatever_the_cuts() {
    let stream: Vec<u8> = (0..20).flat_map(|id| frame(id, id as usize * 7)).collect();
    for chunk_bytes in [1, 2, 3, 23, 24, 25, 100, 10_000] {
        let mut bench = Bench::new(Phase::Open);
        for chunk in stream.chunks(chunk_bytes) {
            assert_eq!(bench.receive(chunk), None);
        }
        assert_eq!(bench.seen, (0..20).collect::<Vec<u64>>(), "chunks of {chunk_bytes}");
        assert_eq!(bench.connection.inbox.bytes(), b"");
        assert_eq!(bench.overdue(1000 * SECOND), None, "idle between frames is allowed");
    }
}

#[test]
fn an_oversize_frame_is_answered_and_ends_the_connection_before_its_bytes_come() {
    let mut bench = Bench::new(Phase::Open);
    let mut header = frame(77, 0);
    header[..4].copy_from_slice(&(bench.limits.frame_bytes + 1).to_le_bytes());
    assert_eq!(bench.receive(&header), Some(Cut::OversizeFrame));
    assert_eq!(bench.error(), (ErrorCode::TooLarge, 77));
    for _ in 0..1000 {
        bench.receive(&[0; 4096]);
    }
    assert!(bench.connection.held_bytes() < 8 << 10, "what follows is not kept");
    assert!(bench.seen.is_empty());
}

#[test]
fn before_hello_frames_are_small() {
    let mut bench = Bench::new(Phase::Greeting);
    assert_eq!(bench.receive(&frame(3, 5000)[..30]), Some(Cut::OversizeFrame));
    assert_eq!(bench.error(), (ErrorCode::TooLarge, 3));
}

#[test]
fn garbage_ends_the_connection_and_never_panics() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..2_000 {
        let mut bench = Bench::new(Phase::Open);
        let bytes: Vec<u8> = (0..next() % 200).map(|_| next() as u8).collect();
        bench.receive(&bytes);
        assert!(bench.seen.is_empty());
    }
}

#[test]
fn any_flipped_bit_of_a_frame_is_noticed() {
    let whole = frame(5, 12);
    // The first four bytes are the length: a flip there asks for more bytes or for fewer.
    for bit in 32..whole.len() * 8 {
        let mut bench = Bench::new(Phase::Open);
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(bench.receive(&bytes), Some(Cut::Malformed), "bit {bit}");
        assert!(bench.seen.is_empty());
        assert!(matches!(bench.connection.phase, Phase::Ending { .. }));
    }
}

#[test]
fn a_slow_writer_is_cut_at_the_frame_deadline_however_it_drips() {
    let mut bench = Bench::new(Phase::Open);
    let whole = frame(1, 200);
    let deadline_s = u64::from(bench.limits.frame_deadline_ms) / 1000;
    for (second, byte) in whole.iter().enumerate().take(deadline_s as usize) {
        assert_eq!(bench.overdue(second as u64 * SECOND), None);
        bench.receive(&[*byte]);
    }
    assert_eq!(bench.overdue(deadline_s * SECOND - 1), None);
    let overdue = bench.overdue(deadline_s * SECOND);
    assert_eq!(overdue, Some(Overdue::Cut(Cut::FrameDeadline)));
}

#[test]
fn a_silent_peer_is_cut_at_the_hello_deadline() {
    let mut bench = Bench::new(Phase::Greeting);
    let deadline = ns(bench.limits.hello_deadline_ms);
    assert_eq!(bench.overdue(deadline - 1), None);
    assert_eq!(bench.overdue(deadline), Some(Overdue::Cut(Cut::HelloDeadline)));
}

#[test]
fn a_flood_is_held_up_at_the_in_flight_limit_and_goes_on_in_order() {
    let mut bench = Bench::new(Phase::Open);
    bench.answer_bytes = None;
    let stream: Vec<u8> = (0..100).flat_map(|id| frame(id, 3)).collect();
    assert_eq!(bench.receive(&stream), Some(Cut::InFlight));
    assert_eq!(bench.seen.len(), 8);
    // Held up by us: the peer's frame clock must not run.
    assert_eq!(bench.overdue(1000 * SECOND), None);
    bench.connection.in_flight = 3;
    assert_eq!(bench.go_on(), Some(Cut::InFlight));
    assert_eq!(bench.seen, (0..13).collect::<Vec<u64>>());
}

#[test]
fn a_peer_that_does_not_read_is_held_up_then_cut() {
    let mut bench = Bench::new(Phase::Open);
    bench.answer_bytes = Some(4_000);
    let stream: Vec<u8> = (0..100).flat_map(|id| frame(id, 3)).collect();
    assert_eq!(bench.receive(&stream), Some(Cut::QueuedOutput));
    assert_eq!(bench.seen.len(), 3);
    assert_eq!(bench.overdue(100 * SECOND), None, "nothing was given to it yet");
    let output = bench.connection.take_output(200 * SECOND).unwrap();
    assert_eq!(bench.overdue(201 * SECOND), None);
    let deadline = 200 * SECOND + ns(bench.limits.write_deadline_ms);
    assert_eq!(bench.overdue(deadline - 1), None);
    assert_eq!(bench.overdue(deadline), Some(Overdue::Cut(Cut::WriteDeadline)));
    bench.connection.sent(output.len());
    assert_eq!(bench.overdue(deadline + 1), None, "once taken, all is well");
}

#[test]
fn a_slow_but_steady_reader_is_not_cut() {
    let mut bench = Bench::new(Phase::Open);
    bench.answer_bytes = Some(9_000);
    bench.receive(&frame(1, 0));
    let output = bench.connection.take_output(0).unwrap().len();
    for second in 0..100 {
        let left = output - second as usize;
        let limits = bench.limits;
        assert_eq!(bench.connection.overdue(left, &limits, second * 9 * SECOND), None);
    }
}

#[test]
fn a_large_frame_is_refused_when_memory_is_spent_and_the_stream_goes_on() {
    let mut bench = Bench::new(Phase::Open);
    bench.budget.held_bytes = bench.budget.limit_bytes - 1000;
    let large = frame(1, 200_000);
    assert_eq!(bench.receive(&large[..5000]), Some(Cut::BufferMemory));
    assert_eq!(bench.error(), (ErrorCode::Overloaded, 1));
    for chunk in large[5000..].chunks(5000) {
        assert_eq!(bench.receive(chunk), None);
    }
    assert!(bench.connection.held_bytes() < 16 << 10);
    bench.connection.out.clear();
    assert_eq!(bench.receive(&frame(2, 100)), None);
    assert_eq!(bench.seen, [2]);
}

#[test]
fn a_large_write_that_is_refused_lets_no_later_one_pass() {
    for kind in [Kind::Put, Kind::PutPartial, Kind::Delete, Kind::Erase] {
        let mut bench = Bench::new(Phase::Open);
        bench.budget.held_bytes = bench.budget.limit_bytes - 1000;
        assert_eq!(bench.receive(&frame_of(kind, 1, 200_000)[..5000]), Some(Cut::BufferMemory));
        assert_eq!(bench.error(), (ErrorCode::Overloaded, 0), "it is about the connection");
        bench.receive(&frame(2, 100));
        assert!(bench.seen.is_empty());
    }
}

#[test]
fn an_ending_connection_is_done_after_it_lingered() {
    let mut bench = Bench::new(Phase::Open);
    bench.connection.end(9, ErrorCode::Malformed, "bad", 5 * SECOND);
    assert_eq!(bench.overdue(5 * SECOND), None);
    assert_eq!(bench.overdue(6 * SECOND), Some(Overdue::Done));
}
