//! Writes: numbering, order, lost answers.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use thermae_formats::wire::{Ack, Kind, Limits, RowOutcome, Token, WriteRequest, encode_json};
use thermae_formats::{KeyValue, NO_TIME, Value};

use super::fake::{Fake, answer, whole};
use crate::{Client, Config, Error, ViewHandle, WriteBatch, Written};

fn batch(handle: &ViewHandle, keys: std::ops::Range<i64>) -> WriteBatch {
    let mut batch = WriteBatch::put(handle);
    for key in keys {
        let values = [Value::Float32(key as f32), Value::String("x".to_owned())];
        batch.push(&[KeyValue::Int(key)], 10 + key, NO_TIME, &values).unwrap();
    }
    batch
}

fn writer(fake: &Fake, config: Config) -> (Client, ViewHandle) {
    let client = Client::connect(&fake.address, config).unwrap();
    let handle = client.view("p", "v").unwrap();
    (client, handle)
}

fn sequences(frame: &[u8]) -> (u64, Vec<u64>) {
    let write = whole(frame);
    let write = WriteRequest::decode(&write, &Limits::default()).unwrap();
    (write.head.producer_id, write.rows().map(|row| row.producer_sequence).collect())
}

fn noting() -> Fake {
    Fake::start(|conn, log| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            let reply = answer(&frame);
            conn.send(&reply);
        }
    })
}

#[test]
fn rows_are_numbered_in_order_and_a_batch_keeps_its_numbers() {
    let fake = noting();
    let (client, handle) = writer(&fake, Config::default());
    let mut first = batch(&handle, 0..3);
    let mut second = batch(&handle, 3..5);
    assert!(client.write(&mut first).unwrap().all_ok());
    client.write(&mut second).unwrap();
    client.write(&mut first).unwrap();
    second.clear();
    second.push_encoded(&8_i64.to_le_bytes(), &[0; 8], true, [1, NO_TIME, NO_TIME]);
    client.write(&mut second).unwrap();
    let seen: Vec<_> = fake.noted().iter().map(|(_, frame)| sequences(frame)).collect();
    let id = client.producer_id();
    assert_eq!(seen, [(id, vec![1, 2, 3]), (id, vec![4, 5]), (id, vec![1, 2, 3]), (id, vec![6])]);
}

#[test]
fn a_row_arrives_as_it_was_pushed() {
    let fake = noting();
    let (client, handle) = writer(&fake, Config::default());
    let mut put = WriteBatch::put(&handle);
    put.ack(Ack::Logged).producer(99, 10);
    let values = [Value::Null, Value::String("zero\0inside".to_owned())];
    put.push_expiring(&[KeyValue::Int(7)], 1, 2, 3, &values).unwrap();
    put.sequence(20).unwrap().push(&[KeyValue::Int(8)], 4, 5, &values).unwrap();
    assert!(put.sequence(20).is_err() && put.push_key(&[KeyValue::Int(8)], 1).is_err());
    client.write(&mut put).unwrap();
    let mut partial = WriteBatch::partial(&handle, &["b"]).unwrap();
    partial.push(&[KeyValue::Int(7)], 1, NO_TIME, &values[1..]).unwrap();
    client.write(&mut partial).unwrap();
    let mut delete = WriteBatch::delete(&handle);
    delete.push_key(&[KeyValue::Int(7)], 9).unwrap();
    client.write(&mut delete).unwrap();
    assert!(WriteBatch::partial(&handle, &["b", "a"]).is_err());
    assert!(WriteBatch::partial(&handle, &["c"]).is_err());

    let noted = fake.noted();
    let decode = |index: usize| WriteRequest::decode(&whole(&noted[index].1), &Limits::default());
    let put = decode(0).unwrap();
    assert_eq!((put.head.view_id, put.head.schema_id, put.head.ack), (7, 3, Ack::Logged));
    assert_eq!(sequences(&noted[0].1), (99, vec![10, 20]));
    let row = put.rows().next().unwrap();
    assert_eq!((row.event_time, row.created_time, row.expire_at, row.dense), (1, 2, 3, false));
    assert_eq!(row.key, 7_i64.to_le_bytes());
    assert_eq!(row.value, [&[1_u8, 0, 0, 0, 0, 11, 0, 0, 0][..], b"zero\0inside"].concat());
    assert_eq!(decode(1).unwrap().features().collect::<Vec<_>>(), [1]);
    assert!(decode(2).unwrap().rows().all(|row| row.value.is_empty()));
}

#[test]
fn lost_answers_are_asked_for_again_with_the_same_numbers_in_order() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        let lost = if conn.number < 2 { 3 } else { usize::MAX };
        for _ in 0..lost {
            let Some(frame) = conn.next_request() else { return };
            log.note(conn, &frame);
            if conn.number == 2 {
                let reply = answer(&frame);
                conn.send(&reply);
            }
        }
    });
    let (client, handle) = writer(&fake, Config::default());
    let mut batches: Vec<_> = (0..3).map(|n| batch(&handle, n * 10..n * 10 + 2)).collect();
    let pending: Vec<_> =
        batches.iter_mut().map(|batch| client.send_write(batch).unwrap()).collect();
    for pending in pending {
        assert!(pending.wait().unwrap().all_ok());
    }
    let noted = fake.noted();
    let of = |number| -> Vec<&Vec<u8>> {
        noted.iter().filter(|noted| noted.0 == number).map(|noted| &noted.1).collect()
    };
    assert_eq!(of(0).len(), 3);
    assert_eq!(of(0), of(1), "byte for byte the same, in the same order");
    assert_eq!(of(0), of(2));
    client.write(&mut batch(&handle, 90..91)).unwrap();
    assert_eq!(sequences(&fake.noted().last().unwrap().1).1, [7]);
}

#[test]
fn an_answered_write_is_not_sent_again() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            if log.len() == 2 {
                return;
            }
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, handle) = writer(&fake, Config::default());
    client.write(&mut batch(&handle, 0..1)).unwrap();
    client.write(&mut batch(&handle, 1..2)).unwrap();
    let sent: Vec<_> = fake.noted().iter().map(|(conn, f)| (*conn, sequences(f).1)).collect();
    assert_eq!(sent, [(0, vec![1]), (0, vec![2]), (1, vec![2])]);
}

#[test]
fn without_repetition_a_lost_answer_leaves_the_write_in_doubt() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        let Some(frame) = conn.next_request() else { return };
        log.note(conn, &frame);
    });
    let config = Config { retry_in_doubt: false, ..Config::default() };
    let (client, handle) = writer(&fake, config);
    let written = client.write(&mut batch(&handle, 0..2)).unwrap();
    assert_eq!(written.outcomes, [RowOutcome::InDoubt; 2]);
    assert_eq!(fake.noted().len(), 1);
}

#[test]
fn another_store_is_not_asked_about_our_writes() {
    let fake = Fake::start(|conn, log| {
        conn.store_id = [conn.number as u8; 16];
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            if conn.number == 0 {
                return;
            }
        }
    });
    let (client, handle) = writer(&fake, Config::default());
    let written = client.write(&mut batch(&handle, 0..1)).unwrap();
    assert_eq!(written.outcomes, [RowOutcome::InDoubt]);
    assert_eq!(fake.noted().len(), 1);
}

#[test]
fn a_server_that_never_answers_leaves_the_write_in_doubt() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        while conn.next_request().is_some() {}
    });
    let timeout = Duration::from_millis(60);
    let (client, handle) = writer(&fake, Config { request_timeout: timeout, ..Config::default() });
    let written = client.write(&mut batch(&handle, 0..1)).unwrap();
    assert_eq!(written.outcomes, [RowOutcome::InDoubt]);
}

#[test]
fn a_server_that_answers_before_it_receives_does_not_stop_the_client() {
    // The server takes nothing in while its own answers are not taken: the client, sending more
    // than the sockets hold, must receive meanwhile.
    let fake = Fake::start(|conn, _| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            let mut flood = Vec::new();
            let unasked = "x".repeat(1 << 20);
            for _ in 0..12 {
                encode_json(&mut flood, Kind::Json, u64::MAX, &unasked, 2 << 20).unwrap();
            }
            conn.send(&flood);
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, handle) = writer(&fake, Config::default());
    let mut batches: Vec<_> =
        (0..6).map(|n| batch(&handle, n * 50_000..(n + 1) * 50_000)).collect();
    let pending: Vec<_> =
        batches.iter_mut().map(|batch| client.send_write(batch).unwrap()).collect();
    for pending in pending {
        assert!(pending.wait().unwrap().all_ok());
    }
}

#[test]
fn limits_of_the_server_hold_before_anything_is_sent() {
    let fake = Fake::start(|conn, log| {
        conn.limits.max_rows_per_write = 3;
        conn.limits.max_frame_bytes = 400;
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, handle) = writer(&fake, Config::default());
    assert!(matches!(client.write(&mut batch(&handle, 0..4)), Err(Error::Wire(_))));
    let mut large = WriteBatch::put(&handle);
    large.push_encoded(&[0; 8], &[0; 500], true, [0, NO_TIME, NO_TIME]);
    assert!(matches!(client.write(&mut large), Err(Error::Wire(_))));
    assert!(matches!(client.write(&mut WriteBatch::put(&handle)), Err(Error::Usage(_))));
    assert!(client.write(&mut batch(&handle, 0..3)).unwrap().all_ok());
    assert_eq!(sequences(&fake.noted()[0].1).1, [1, 2, 3], "what was not sent used no number");
}

#[test]
fn tokens_are_the_last_of_each_partition() {
    let ok = |partition, sequence| RowOutcome::Ok {
        token: Token { partition, sequence },
        duplicate: false,
    };
    let outcomes = vec![ok(2, 5), ok(1, 9), RowOutcome::InDoubt, ok(2, 8), ok(2, 7)];
    let written = Written { level: Ack::Durable, outcomes, message: String::new() };
    let last = [Token { partition: 1, sequence: 9 }, Token { partition: 2, sequence: 8 }];
    assert_eq!(written.tokens(), last);
    assert!(!written.all_ok());
}

#[test]
fn writers_in_many_threads_use_every_number_once_in_order() {
    let fake = noting();
    let (client, handle) = writer(&fake, Config::default());
    let start = Arc::new(Barrier::new(6));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (client, handle, start) = (client.clone(), handle.clone(), Arc::clone(&start));
            scope.spawn(move || {
                start.wait();
                for _ in 0..20 {
                    let rows = thread * 10..thread * 10 + 3;
                    assert!(client.write(&mut batch(&handle, rows)).unwrap().all_ok());
                }
            });
        }
    });
    let seen: Vec<u64> = fake.noted().iter().flat_map(|(_, frame)| sequences(frame).1).collect();
    assert_eq!(seen, (1..=360).collect::<Vec<u64>>());
}
