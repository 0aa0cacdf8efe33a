//! Targets over wire frames. Each but `wire_stream` takes a payload and frames it, so that every mutation
//! gets past the frame's checksum.

use thermae_formats::wire::{
    ComputeRequest, EraseStatusRequest, ErrorCode, ErrorReply, Frame, HEADER_BYTES, HelloReply,
    HelloRequest, HistoryPut, HistoryReply, HistoryRequest, Kind, Limits, MapReply, MapRequest,
    PackedKeys, PrepareRequest, ReadReply, ReadRequest, ScanEncoder, ScanPlace, ScanReply,
    ScanRequest, Token, WriteEncoder, WriteReply, WriteRequest, WriteRow, begin_frame, decode_json,
    decode_plan, decode_pong, encode_json, encode_ping, encode_pong, encode_read,
    encode_write_reply, finish_frame, split_frame,
};

const MAX_BYTES: u32 = 1 << 20;
const REQUEST_ID: u64 = 42;

/// `payload` as one frame of `kind`.
pub fn framed(kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let start = begin_frame(&mut bytes, kind, REQUEST_ID);
    bytes.extend_from_slice(payload);
    finish_frame(&mut bytes, start, MAX_BYTES).ok()?;
    Some(bytes)
}

/// Frames `payload`, and gives the frame to `check` with its bytes.
fn with_frame(kind: Kind, payload: &[u8], check: impl FnOnce(&Frame<'_>, &[u8])) {
    let Some(bytes) = framed(kind, payload) else { return };
    let (frame, rest) = split_frame(&bytes, MAX_BYTES).expect("well framed").expect("whole");
    assert!(rest.is_empty() && frame.payload == payload && frame.request_id == REQUEST_ID);
    check(&frame, &bytes);
}

/// Received bytes as they come: frames are split off as long as they verify, each within the limit.
pub fn wire_stream(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((frame, left))) = split_frame(rest, MAX_BYTES) {
        assert!(frame.bytes.len() >= HEADER_BYTES && frame.bytes.len() <= MAX_BYTES as usize);
        assert_eq!(frame.bytes.len() + left.len(), rest.len());
        control_frame(&frame, frame.bytes);
        read_frame(&frame, frame.bytes);
        write_frame(&frame, frame.bytes);
        reply_frame(&frame);
        rest = left;
    }
}

/// The first byte is the kind: handshake, plans, JSON, maps, pings, errors, write replies.
pub fn wire_control(data: &[u8]) {
    let Some((code, payload)) = data.split_first() else { return };
    if let Ok(kind) = Kind::from_code(*code) {
        with_frame(kind, payload, control_frame);
    }
}

fn control_frame(frame: &Frame<'_>, bytes: &[u8]) {
    let id = frame.request_id;
    let mut again = Vec::new();
    if let Ok(hello) = HelloRequest::decode(frame) {
        if hello.encode(&mut again, id).is_ok() {
            assert_eq!(again, bytes);
        }
    } else if let Ok(hello) = HelloReply::decode(frame) {
        if hello.encode(&mut again, id).is_ok() {
            assert_eq!(again, bytes);
        }
    } else if let Ok(prepare) = PrepareRequest::decode(frame) {
        prepare.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(text) = decode_json(frame) {
        let kind = frame.kind().expect("a known kind");
        encode_json(&mut again, kind, id, text, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(map) = MapRequest::decode(frame) {
        map.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(map) = MapReply::decode(frame) {
        let present = map.partition_map.iter().all(|shard| usize::from(*shard) < map.shards.len());
        assert!(present, "a partition names a shard that is not there");
        map.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else {
        small_frame(frame, bytes);
    }
}

fn small_frame(frame: &Frame<'_>, bytes: &[u8]) {
    let id = frame.request_id;
    let mut again = Vec::new();
    if let Ok(plan) = decode_plan(frame) {
        // A type may be spelled in more than one way: equal in meaning, not in bytes.
        plan.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        let (frame, _) = split_frame(&again, MAX_BYTES).expect("framed").expect("whole");
        assert_eq!(decode_plan(&frame), Ok(plan));
    } else if let Ok(time) = decode_pong(frame) {
        encode_pong(&mut again, id, time);
        assert_eq!(again, bytes);
    } else if let Ok(error) = ErrorReply::decode(frame) {
        let Some(code) = error.known() else { return };
        ErrorReply::encode(&mut again, id, code, error.retry_after_ms, error.message);
        assert!(error.message.len() > 1024 || again == bytes);
        assert_eq!(ErrorCode::from_code(error.code), Some(code));
    } else if let Ok(written) = WriteReply::decode(frame) {
        let outcomes: Vec<_> = written.outcomes().collect();
        assert_eq!(outcomes.len(), written.row_count());
        let (level, message) = (written.level, written.message);
        encode_write_reply(&mut again, id, level, &outcomes, message, MAX_BYTES).expect("encodes");
        let (frame, _) = split_frame(&again, MAX_BYTES).expect("framed").expect("whole");
        let back: Vec<_> = WriteReply::decode(&frame).expect("and decodes").outcomes().collect();
        assert_eq!(back, outcomes);
    } else if let Ok(scan) = ScanRequest::decode(frame) {
        scan.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        if let Ok(place) = ScanPlace::parse(scan.place) {
            assert_eq!(place.to_bytes(), scan.place);
        }
        assert_eq!(again, bytes);
    } else if let Ok(page) = ScanReply::decode(frame) {
        let mut encoder = ScanEncoder::default();
        page.rows().for_each(|row| encoder.push(&row).expect("what decodes encodes"));
        assert_eq!(encoder.row_count() as usize, page.row_count());
        encoder.finish(&mut again, id, page.place, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(asked) = ComputeRequest::decode(frame, &Limits::default()) {
        // A type may be spelled in more than one way: equal in meaning, not in bytes.
        asked.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        let (frame, _) = split_frame(&again, MAX_BYTES).expect("framed").expect("whole");
        assert_eq!(ComputeRequest::decode(&frame, &Limits::default()), Ok(asked));
    } else if let Ok(asked) = EraseStatusRequest::decode(frame, &Limits::default()) {
        asked.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(request) = HistoryRequest::decode(frame) {
        request.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(put) = HistoryPut::decode(frame) {
        put.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if let Ok(reply) = HistoryReply::decode(frame) {
        reply.encode(&mut again, id, MAX_BYTES).expect("what decodes encodes");
        assert_eq!(again, bytes);
    } else if frame.kind_code == Kind::Ping as u8 && frame.payload.is_empty() {
        encode_ping(&mut again, id);
        assert_eq!(again, bytes);
    }
}

/// A READ's payload: what decodes encodes to the same bytes.
pub fn wire_read(data: &[u8]) {
    with_frame(Kind::Read, data, read_frame);
}

fn read_frame(frame: &Frame<'_>, bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(read) = ReadRequest::decode(frame, &limits) else { return };
    let tokens: Vec<Token> = read.tokens().collect();
    let views: Vec<PackedKeys<'_>> = read.views().collect();
    assert_eq!(views.len(), read.view_count());
    let keys: u64 = views.iter().map(|keys| u64::from(keys.count)).sum();
    assert_eq!(keys, u64::from(read.key_count));
    assert!(keys <= u64::from(limits.max_batch_keys));
    let mut again = Vec::new();
    let id = frame.request_id;
    encode_read(&mut again, id, &read.head, &tokens, views.iter().copied(), MAX_BYTES)
        .expect("encodes");
    assert_eq!(again, bytes);
}

/// The first byte picks PUT, PUT_PARTIAL, DELETE or ERASE: what decodes encodes to the same bytes.
pub fn wire_write(data: &[u8]) {
    let Some((pick, payload)) = data.split_first() else { return };
    let kind = [Kind::Put, Kind::PutPartial, Kind::Delete, Kind::Erase][usize::from(*pick) % 4];
    with_frame(kind, payload, write_frame);
}

fn write_frame(frame: &Frame<'_>, bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(write) = WriteRequest::decode(frame, &limits) else { return };
    let rows: Vec<WriteRow<'_>> = write.rows().collect();
    assert_eq!(rows.len(), write.row_count());
    assert!(rows.len() <= limits.max_rows_per_write as usize);
    let features: Vec<u16> = write.features().collect();
    let (mut again, id) = (Vec::new(), frame.request_id);
    let mut encoder = match write.kind {
        Kind::Delete => WriteEncoder::delete(&mut again, id, &write.head),
        Kind::Erase => WriteEncoder::erase(&mut again, id, &write.head),
        Kind::PutPartial => {
            WriteEncoder::put_partial(&mut again, id, &write.head, &features).expect("few features")
        }
        _ => WriteEncoder::put(&mut again, id, &write.head),
    };
    for row in &rows {
        encoder.push(row).expect("what decodes encodes");
    }
    encoder.finish(MAX_BYTES).expect("within the limit");
    // An expiry may be stated as none: equal in meaning, not in bytes.
    if again.len() == bytes.len() {
        assert_eq!(again, bytes);
    }
}

/// A columnar or matrix answer's payload: once it is accepted, every way to read it stays in bounds.
pub fn wire_reply(data: &[u8]) {
    with_frame(Kind::Columns, data, |frame, _| reply_frame(frame));
}

fn reply_frame(frame: &Frame<'_>) {
    let Ok(reply) = ReadReply::decode(frame) else { return };
    // Nothing bounds rows by payload when no column has bytes; a reader bounds what it asks for.
    const ROWS: usize = 256;
    for view in (0..reply.view_count()).filter_map(|index| reply.view(index)) {
        assert_eq!(view.statuses().len(), view.rows());
        let _ = view.event_times().map(|times| times.len());
        let _ = view.matrix().map(|matrix| matrix.len());
        for row in 0..view.rows().min(ROWS) {
            view.status(row);
            view.event_time(row);
        }
        if reply.flags().matrix {
            continue;
        }
        for index in 0..view.columns().min(ROWS) {
            let column = view.column(index).expect("a column that is there");
            for row in 0..column.rows().min(ROWS) {
                view.cell(row, index);
                assert!(column.value(row).is_none() || column.is_valid(row));
            }
            let _ = column.as_f32().map(|values| values.len());
            let _ = column.as_i64().map(|values| values.len());
            let _ = column.offsets().map(|offsets| offsets.len());
            assert!(column.data().len() + column.values().len() <= frame.bytes.len());
        }
    }
    assert!(reply.view(reply.view_count()).is_none());
}
