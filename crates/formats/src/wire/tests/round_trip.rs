//! What goes into a frame comes out of it.

use zerocopy::IntoBytes;

use super::samples;
use super::*;
use crate::{Feature, NO_TIME, RowLayout, Value};

const MAX: u32 = DEFAULT_MAX_FRAME_BYTES;

fn whole(frame: &[u8]) -> Frame<'_> {
    Frame::check(frame, MAX).unwrap()
}

fn sample(name: &str) -> Vec<u8> {
    samples::all().into_iter().find(|sample| sample.1 == name).unwrap().2
}

/// The frame 8-aligned in memory: enough for every type of value.
fn aligned(frame: &[u8]) -> Vec<u64> {
    let mut words = vec![0_u64; frame.len().div_ceil(8)];
    words.as_mut_bytes()[..frame.len()].copy_from_slice(frame);
    words
}

#[test]
fn every_sample_decodes() {
    for (_, name, frame) in samples::all() {
        assert_eq!(decode_any(&whole(&frame)), Ok(()), "{name}");
    }
}

#[test]
fn hello_comes_back() {
    let frame = sample("hello");
    let hello = HelloRequest::decode(&whole(&frame)).unwrap();
    assert_eq!((hello.version_min, hello.version_max), (1, 3));
    assert_eq!((hello.credentials, hello.client_name), (&b"\x00secret"[..], "golden"));
    assert_eq!(hello.common_version(), Some(1));
    assert_eq!(HelloRequest { version_min: 2, ..hello }.common_version(), None);
    let frame = sample("hello-reply");
    let reply = HelloReply::decode(&whole(&frame)).unwrap();
    assert_eq!((reply.epoch, reply.limits), (7, Limits::default()));
}

#[test]
fn a_plan_comes_back() {
    let frame = sample("plan");
    let plan = decode_plan(&whole(&frame)).unwrap();
    let mut again = Vec::new();
    plan.encode(&mut again, 2, MAX).unwrap();
    assert_eq!(frame, again);
    assert_eq!(plan.views[0].columns[1].value_type.to_string(), "list<string>");
}

#[test]
fn a_read_comes_back() {
    let frame = sample("read");
    let read = ReadRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    assert!(read.head.flags.matrix && read.head.flags.event_times);
    assert_eq!((read.key_count, read.head.deadline_us), (3, 2_500));
    let tokens: Vec<Token> = read.tokens().collect();
    assert_eq!(tokens[1], Token { partition: 63, sequence: (1 << 48) - 1 });
    assert_eq!(read.views().map(|keys| keys.count).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn columns_come_back_by_cell() {
    let frame = samples::columns();
    let reply = ReadReply::decode(&whole(&frame)).unwrap();
    let view = reply.view(0).unwrap();
    assert_eq!((view.rows(), view.columns(), reply.view_count()), (4, 6, 2));
    let statuses: Vec<RowStatus> = (0..4).map(|row| view.status(row)).collect();
    use RowStatus::{Error, OutsideMaxAge, Present};
    assert_eq!(statuses, [Present, OutsideMaxAge, Present, Error]);
    assert_eq!(view.event_time(2), Some(1_600_000_000_000_002));
    let text = view.column(1).unwrap();
    let values: Vec<Option<&[u8]>> = (0..4).map(|row| text.value(row)).collect();
    assert_eq!(values, [Some(&b"row 0"[..]), None, Some(&b"row 2"[..]), None]);
    assert_eq!(view.column(2).unwrap().value(2), Some(&i64::MIN.to_le_bytes()[..]));
    assert_eq!(view.column(5).unwrap().value(2), Some(&b""[..]));
    assert_eq!(view.cell(0, 2), CellStatus::NullValue);
    assert_eq!(view.cell(0, 0), CellStatus::Present);
    assert_eq!(view.cell(1, 0), CellStatus::OutsideMaxAge);
    assert_eq!(view.cell(3, 0), CellStatus::Error);
    assert_eq!(view.cell(9, 0), CellStatus::NotFound);
    assert!(view.column(6).is_none() && reply.view(2).is_none());
}

#[test]
fn columns_are_slices_where_they_lie() {
    let words = aligned(&samples::columns());
    let bytes = &words.as_bytes()[..samples::columns().len()];
    let reply = ReadReply::decode(&whole(bytes)).unwrap();
    let view = reply.view(0).unwrap();
    assert_eq!(view.column(0).unwrap().as_f32().unwrap(), [0.5, 0.0, 2.5, 0.0]);
    assert_eq!(view.column(2).unwrap().as_i64().unwrap(), [0, 0, i64::MIN, 0]);
    assert_eq!(view.column(3).unwrap().as_f32().unwrap().len(), 12);
    assert_eq!(view.column(1).unwrap().offsets().unwrap(), [0, 5, 5, 10, 10]);
    assert_eq!(view.column(1).unwrap().data(), b"row 0row 2");
    assert!(view.column(1).unwrap().as_f32().is_err());
    assert!(view.column(0).unwrap().as_i64().is_err());
    assert_eq!(view.event_times().unwrap()[1], -1);
}

#[test]
fn every_buffer_begins_at_a_multiple_of_64() {
    let frame = samples::columns();
    let view = ReadReply::decode(&whole(&frame)).unwrap().view(0).unwrap();
    let at = |bytes: &[u8]| bytes.as_ptr() as usize - frame.as_ptr() as usize;
    for column in (0..6).filter_map(|index| view.column(index)) {
        for buffer in [column.values(), column.data()] {
            assert!(buffer.is_empty() || at(buffer).is_multiple_of(64));
        }
    }
    assert!(at(view.statuses()).is_multiple_of(64));
}

#[test]
fn a_matrix_is_one_block_with_nan_for_null() {
    let frame = sample("matrix");
    let words = aligned(&frame);
    let reply = ReadReply::decode(&whole(&words.as_bytes()[..frame.len()])).unwrap();
    let cells = reply.view(0).unwrap().matrix().unwrap();
    let bits: Vec<u32> = cells.iter().map(|cell| cell.to_bits()).collect();
    let nan = f32::NAN.to_bits();
    let middle = [(-0.0_f32).to_bits(), f32::INFINITY.to_bits(), 1.5_f32.to_bits()];
    assert_eq!(bits, [&[nan; 3][..], &middle, &[nan; 3]].concat());
    assert_eq!(reply.view(1).unwrap().matrix().unwrap()[2], 3.0);
    assert!(reply.view(0).unwrap().column(0).is_none());
}

#[test]
fn a_builder_leaves_nothing_of_the_answer_before() {
    let fresh = samples::columns();
    let shapes = [ColumnShape { width_bytes: 0 }; 2];
    let views = [ViewShape { rows: 100, columns: &shapes }];
    let mut builder = ReplyBuilder::new();
    let begun = |builder: &mut ReplyBuilder, rows: &[usize]| {
        let buffer = vec![0xEE; 100_000];
        let flags = ReadFlags::default();
        builder.begin(buffer, 1, flags, 0, MAX, views.into_iter()).unwrap();
        for row in rows {
            builder.set_variable(0, 1, *row, &[*row as u8; 3]).unwrap();
        }
        builder.finish().unwrap()
    };
    let first = begun(&mut builder, &[5]);
    begun(&mut builder, &(0..100).rev().collect::<Vec<_>>());
    assert_eq!(begun(&mut builder, &[5]), first);
    assert_eq!(samples::columns(), fresh);
}

#[test]
fn rows_in_any_order_give_the_same_frame() {
    let shapes = [ColumnShape { width_bytes: 0 }];
    let build = |rows: &[usize]| {
        let views = [ViewShape { rows: 9, columns: &shapes }];
        let mut builder = ReplyBuilder::new();
        let flags = ReadFlags::default();
        builder.begin(Vec::new(), 1, flags, 0, MAX, views.into_iter()).unwrap();
        for row in rows {
            builder.set_variable(0, 0, *row, &vec![*row as u8; *row]).unwrap();
        }
        builder.finish().unwrap()
    };
    assert_eq!(build(&[0, 1, 4, 8]), build(&[8, 0, 4, 1]));
}

#[test]
fn an_answer_beyond_the_limit_is_an_error_not_a_frame() {
    let shapes = [ColumnShape { width_bytes: 0 }];
    let views = [ViewShape { rows: 2, columns: &shapes }];
    let mut builder = ReplyBuilder::new();
    let flags = ReadFlags::default();
    builder.begin(Vec::new(), 1, flags, 0, 1024, views.into_iter()).unwrap();
    builder.set_variable(0, 0, 0, &[7; 100]).unwrap();
    assert!(builder.set_variable(0, 0, 1, &[7; 2000]).is_err());
    let wide = [ColumnShape { width_bytes: u32::MAX }];
    let views = [ViewShape { rows: u32::MAX, columns: &wide }];
    assert!(builder.begin(Vec::new(), 1, flags, 0, MAX, views.into_iter()).is_err());
}

#[test]
fn writes_come_back() {
    let frame = sample("put");
    let put = WriteRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    let rows: Vec<WriteRow<'_>> = put.rows().collect();
    assert_eq!((rows[0].producer_sequence, rows[1].producer_sequence), (100, 101));
    assert_eq!((rows[0].key, rows[0].value), (&b"\x03\x00JFK"[..], &[0x3F; 16][..]));
    assert_eq!((rows[0].created_time, rows[1].expire_at), (NO_TIME, 5));
    assert!(rows[0].dense && !rows[1].dense);

    let frame = sample("put-partial");
    let partial = WriteRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    assert_eq!(partial.features().collect::<Vec<_>>(), [0, 3]);
    let sequences: Vec<u64> = partial.rows().map(|row| row.producer_sequence).collect();
    assert_eq!(sequences, [500, 502]);

    let frame = sample("delete");
    let delete = WriteRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    assert!(delete.rows().all(|row| row.value.is_empty() && !row.dense));

    let frame = sample("erase");
    let erase = WriteRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    let times = |row: &WriteRow<'_>| [row.event_time, row.created_time, row.expire_at];
    assert!(erase.rows().all(|row| row.value.is_empty() && times(&row) == [NO_TIME; 3]));
    // An erase that has a time is none: nobody is to think that it erased up to then.
    let mut dated = frame.clone();
    let at = dated.len() - erase.rows().next().unwrap().key.len() - 16;
    dated[at] ^= 1;
    let dated = super::reseal(&frame, &dated[HEADER_BYTES..]);
    let refused = WriteRequest::decode(&whole(&dated), &Limits::default()).unwrap_err();
    assert_eq!(refused, WireError::Reserved { what: "the times of an erase", found: 1 });

    let frame = sample("delete");
    let few = Limits { max_rows_per_write: 1, ..Limits::default() };
    let refused = WriteRequest::decode(&whole(&frame), &few).unwrap_err();
    assert_eq!(refused, WireError::Count { what: "rows", count: 2, max: 1 });
}

#[test]
fn questions_about_erases_come_back() {
    let frame = sample("erase-status");
    let asked = EraseStatusRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    let token = |partition, sequence| Token { partition, sequence };
    assert_eq!((asked.view_id, &asked.keys[..]), (3, &[&b"\x03\x00JFK"[..]][..]));
    assert_eq!(asked.tokens, [token(5, 9), token(4095, 1 << 40)]);
    let few = Limits { max_rows_per_write: 1, ..Limits::default() };
    let refused = EraseStatusRequest::decode(&whole(&frame), &few).unwrap_err();
    assert_eq!(refused, WireError::Count { what: "tokens", count: 2, max: 1 });
}

#[test]
fn what_is_to_be_computed_comes_back() {
    let frame = sample("compute");
    let asked = ComputeRequest::decode(&whole(&frame), &Limits::default()).unwrap();
    assert_eq!((asked.event_times, asked.deadline_us, asked.read_time), (true, 2_500, NO_TIME));
    assert_eq!(asked.registry_version, 5);
    assert_eq!(asked.ask, r#"{"features":["drive:minutes"]}"#);
    let columns: Vec<_> =
        asked.columns.iter().map(|c| (c.name, c.value_type.to_string())).collect();
    assert_eq!(columns, [("origin", "string".to_owned()), ("km", "float32".to_owned())]);
    let features: Vec<Feature> =
        asked.columns.iter().map(|c| Feature::new(c.name, c.value_type.clone())).collect();
    let layout = RowLayout::new(&features).unwrap();
    let rows = asked.rows.iter().map(|row| layout.decode(row.value, row.dense).unwrap());
    let text = |text: &str| Value::String(text.to_owned());
    let expected = [vec![text("JFK"), Value::Float32(1.5)], vec![text("L"), Value::Null]];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    let few = Limits { max_batch_keys: 1, ..Limits::default() };
    let refused = ComputeRequest::decode(&whole(&frame), &few).unwrap_err();
    assert_eq!(refused, WireError::Count { what: "rows", count: 2, max: 1 });
    // A flag that this version does not know would change what the row means.
    let at = frame.len() - asked.rows[1].value.len() - 8;
    let mut unknown = frame.clone();
    unknown[at] |= 1;
    let unknown = super::reseal(&frame, &unknown[HEADER_BYTES..]);
    let refused = ComputeRequest::decode(&whole(&unknown), &Limits::default()).unwrap_err();
    assert_eq!(refused, WireError::UnknownCode { what: "set of row flags", code: 1 });
}

#[test]
fn outcomes_come_back() {
    let frame = sample("written-mixed");
    let reply = WriteReply::decode(&whole(&frame)).unwrap();
    let outcomes: Vec<RowOutcome> = reply.outcomes().collect();
    let duplicate = RowOutcome::Ok { token: Token { partition: 6, sequence: 8 }, duplicate: true };
    assert_eq!(outcomes[1], duplicate);
    assert_eq!(outcomes[2], RowOutcome::InDoubt);
    assert_eq!(outcomes[3], RowOutcome::NotApplied(NotApplied::Late));
    assert_eq!(outcomes[4], RowOutcome::Overloaded { retry_after_ms: 250 });
    assert!(!reply.all_ok());
    assert_eq!(reply.message, "late");
    let frame = sample("written-checked");
    let checked: Vec<RowOutcome> = WriteReply::decode(&whole(&frame)).unwrap().outcomes().collect();
    assert_eq!(checked[0], RowOutcome::FailsCheck { check: 3 });
    assert_eq!(checked[2], RowOutcome::Quarantined { check: 7 });
    for reason in NotApplied::ALL {
        let mut out = Vec::new();
        let outcome = [RowOutcome::NotApplied(*reason)];
        encode_write_reply(&mut out, 1, Ack::Durable, &outcome, "", MAX).unwrap();
        let reply = WriteReply::decode(&whole(&out)).unwrap();
        assert_eq!(reply.outcomes().next(), Some(outcome[0]));
        assert!(!matches!(reason, NotApplied::Unknown(_)) && reason.code() >= 16);
    }
    let frame = sample("written");
    let reply = WriteReply::decode(&whole(&frame)).unwrap();
    assert!(reply.all_ok());
    // Eight bytes a row when all went well.
    assert_eq!(frame.len(), HEADER_BYTES + 8 + 2 * 8 + 2);
}

#[test]
fn a_reason_of_a_later_version_is_kept_as_its_number() {
    let refused = |code| {
        let mut out = Vec::new();
        let outcome = [RowOutcome::NotApplied(NotApplied::Unknown(code))];
        encode_write_reply(&mut out, 1, Ack::Durable, &outcome, "it rains", MAX).unwrap();
        let frame = whole(&out);
        let reply = WriteReply::decode(&frame)?;
        assert_eq!(reply.message, "it rains");
        Ok(reply.outcomes().next().unwrap())
    };
    let RowOutcome::NotApplied(reason) = refused(200).unwrap() else { panic!("not applied") };
    assert_eq!((reason.code(), reason.to_string().as_str()), (200, "reason 200"));
    // A known number is never the unknown one.
    assert_eq!(refused(16), Ok(RowOutcome::NotApplied(NotApplied::Late)));
    for code in 3..16 {
        let unknown = WireError::UnknownCode { what: "outcome", code: u32::from(code) };
        assert_eq!(refused(code), Err(unknown));
    }
}

#[test]
fn errors_say_what_to_do_next() {
    for code in ErrorCode::ALL {
        let mut out = Vec::new();
        ErrorReply::encode(&mut out, 4, *code, 17, &"é".repeat(600));
        let frame = whole(&out);
        let reply = ErrorReply::decode(&frame).unwrap();
        assert_eq!((reply.known(), reply.retry_after_ms), (Some(*code), 17));
        assert_eq!(reply.message, "é".repeat(512));
    }
    assert_eq!(ErrorCode::Behind.category(), ErrorCategory::RetryLater);
    assert_eq!(ErrorCode::StaleSchema.category(), ErrorCategory::Reprepare);
    assert_eq!(ErrorCode::Internal.category(), ErrorCategory::Operator);
}

/// An answer of 70 rows (so that validity takes two words), each set by `set`.
fn filled(set: impl Fn(&mut ReplyBuilder, usize, &[u8])) -> Vec<u8> {
    let shapes = [4, 8, 12, 1].map(|width_bytes| ColumnShape { width_bytes });
    let views = [ViewShape { rows: 70, columns: &shapes }];
    let mut builder = ReplyBuilder::new();
    builder.begin(Vec::new(), 1, ReadFlags::default(), 0, MAX, views.into_iter()).unwrap();
    for row in (0..70).filter(|row| row % 3 != 0) {
        let bytes: Vec<u8> = (0..25).map(|at| (row + at) as u8).collect();
        set(&mut builder, row, &bytes);
    }
    builder.finish().unwrap()
}

#[test]
fn a_row_set_at_once_is_its_columns_set_one_by_one() {
    let one_by_one = filled(|builder, row, bytes| {
        for (column, range) in [0..4, 4..12, 12..24, 24..25].into_iter().enumerate() {
            builder.set_fixed(0, column, row, &bytes[range]);
        }
    });
    let at_once = filled(|builder, row, bytes| assert!(builder.set_row(0, row, bytes)));
    assert_eq!(at_once, one_by_one);
    filled(|builder, row, bytes| {
        assert!(!builder.set_row(0, row, &bytes[1..]));
        assert!(!builder.set_row(0, row, &[bytes, &[0]].concat()));
    });
}

#[test]
fn a_scan_and_its_page_come_back() {
    let frame = sample("scan-one");
    let scan = ScanRequest::decode(&whole(&frame)).unwrap();
    assert_eq!(
        (scan.event_times.clone(), scan.key),
        (-5..=1_700_000_000_000_000, Some(&b"\x03\x00JFK"[..]))
    );
    let place = ScanPlace::parse(scan.place).unwrap();
    assert_eq!(
        (place.order, place.key),
        ((1_600_000_000_000_000, NO_TIME, 77), &b"\x03\x00JFK"[..])
    );
    let mut again = Vec::new();
    scan.encode(&mut again, 15, MAX).unwrap();
    assert_eq!(frame, again);

    let frame = sample("scanned");
    let page = ScanReply::decode(&whole(&frame)).unwrap();
    assert_eq!(page.place, Some(&place.to_bytes()[..]));
    let rows: Vec<ScanRow<'_>> = page.rows().collect();
    assert_eq!(rows.iter().map(|row| row.tombstone).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!((rows[0].sequence, rows[0].expire_at, rows[1].value), (78, 5, &b""[..]));
    let mut encoder = ScanEncoder::default();
    rows.iter().for_each(|row| encoder.push(row).unwrap());
    let mut again = Vec::new();
    encoder.finish(&mut again, 15, page.place, MAX).unwrap();
    assert_eq!(frame, again);
    assert!(ScanReply::decode(&whole(&sample("scanned-last"))).unwrap().place.is_none());
    assert!(ScanPlace::parse(b"").is_err() && ScanPlace::parse(&[2; 60]).is_err());
}

#[test]
fn the_steps_of_a_training_read_come_back() {
    let mut again = Vec::new();
    let frame = sample("history-two");
    let request = HistoryRequest::decode(&whole(&frame)).unwrap();
    assert!(request.as_of_known && request.full_names && request.joins.len() == 2);
    assert_eq!(request.joins[1].columns, [("origin", "dest")]);
    request.encode(&mut again, 16, MAX).unwrap();
    assert_eq!(again, frame);

    again.clear();
    let frame = sample("history-put");
    let put = HistoryPut::decode(&whole(&frame)).unwrap();
    assert_eq!(put, HistoryPut { last: false, bytes: &[1, 2, 3] });
    put.encode(&mut again, 17, MAX).unwrap();
    assert_eq!(again, frame);
    assert_eq!(frame.len(), HistoryPut::BESIDE_BYTES + 3);

    again.clear();
    let frame = sample("history-reply-last");
    let reply = HistoryReply::decode(&whole(&frame)).unwrap();
    assert!(reply.over && reply.tallies.len() == 2 && reply.steps.joined == 18);
    reply.encode(&mut again, 18, MAX).unwrap();
    assert_eq!(again, frame);

    let frame = reseal(&sample("history-next"), &[0]);
    assert!(decode_history_step(&whole(&frame), Kind::HistoryNext).is_err());
    let many = HistoryRequest { joins: vec![HistoryJoin::default(); 1025], ..Default::default() };
    assert!(matches!(many.encode(&mut again, 1, MAX), Err(WireError::Count { .. })));
}
