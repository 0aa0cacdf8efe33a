//! Reads: answers, order, lost connections, late and damaged answers.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use thermae_formats::Value;
use thermae_formats::wire::{ErrorCode, ErrorReply};

use super::fake::{Fake, answer, keys, whole};
use crate::{CellStatus, Client, Config, Error, ReadOptions};

fn serving() -> Fake {
    Fake::start(|conn, _| {
        conn.hello();
        conn.serve();
    })
}

#[test]
fn an_answer_is_read_where_it_lies() {
    for spin in [false, true] {
        let fake = serving();
        let (client, plan) = fake.client(Config { spin, ..Config::default() });
        let options = ReadOptions { event_times: true, ..ReadOptions::default() };
        let answer = client.read(&plan, &[&keys(&plan, &[3, -1, 5])], &options).unwrap();
        let view = answer.view(0).unwrap();
        let column = view.column(0).unwrap().as_f32().unwrap();
        assert_eq!(column, [3.0, 0.0, 5.0]);
        assert_eq!(column.as_ptr() as usize % 64, 0, "arrays lie at a multiple of 64 in memory");
        assert_eq!(view.event_times().unwrap(), [30, 0, 50]);
        assert_eq!(answer.value(0, 2, 1).unwrap(), Value::String("k5".to_owned()));
        assert_eq!(answer.value(0, 1, 1).unwrap(), Value::Null);
        assert_eq!(answer.status(0, 1, 0), CellStatus::NotFound);
        assert_eq!(answer.read_time(), 77);
        assert!(answer.value(0, 3, 0).is_err() && answer.value(1, 0, 0).is_err());

        let options = ReadOptions { matrix: true, ..ReadOptions::default() };
        let answer = client.read(&plan, &[&keys(&plan, &[4])], &options).unwrap();
        let matrix = answer.matrix(0).unwrap();
        assert_eq!(matrix[0], 4.0);
        assert!(matrix[1].is_nan());
    }
}

#[test]
fn answers_out_of_order_find_their_requests() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        loop {
            let some: Vec<_> = (0..5).map_while(|_| conn.next_request()).collect();
            // All in one piece, last first.
            let replies: Vec<u8> = some.iter().rev().flat_map(|frame| answer(frame)).collect();
            conn.send(&replies);
            if some.len() < 5 {
                return;
            }
        }
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    let send = |key| client.send_read(&plan, &[&keys(&plan, &[key])], &options).unwrap();
    let pending: Vec<_> = (0..5).map(send).collect();
    for (key, pending) in pending.into_iter().enumerate() {
        let answer = pending.wait().unwrap();
        let column = answer.view(0).unwrap().column(0).unwrap();
        assert_eq!(column.as_f32().unwrap(), [key as f32]);
        assert_eq!(column.as_f32().unwrap().as_ptr() as usize % 64, 0);
    }
}

#[test]
fn threads_share_a_connection() {
    let fake = serving();
    let (client, plan) = fake.client(Config { in_flight_max: 4, ..Config::default() });
    std::thread::scope(|scope| {
        for thread in 0..8_i64 {
            let (client, plan) = (client.clone(), plan.clone());
            scope.spawn(move || {
                for turn in 0..100 {
                    let key = thread * 1000 + turn;
                    let options = ReadOptions::default();
                    let answer = client.read(&plan, &[&keys(&plan, &[key])], &options).unwrap();
                    assert_eq!(
                        answer.value(0, 0, 0).unwrap(),
                        Value::Float32(key as f32),
                        "another request's answer"
                    );
                }
            });
        }
    });
}

#[test]
fn a_read_survives_a_lost_connection_and_prepares_its_plan_again() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        if conn.number == 0 {
            let read = conn.next_request().unwrap();
            log.note(conn, &read);
            return;
        }
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    let answer = client.read(&plan, &[&keys(&plan, &[9])], &options).unwrap();
    assert_eq!(answer.value(0, 0, 0).unwrap(), Value::Float32(9.0));
    let plans: Vec<u32> = fake
        .noted()
        .iter()
        .map(|(_, f)| u32::from_le_bytes(f[24..28].try_into().unwrap()))
        .collect();
    assert_eq!(plans, [100, 101], "the plan's id is the new connection's own");
    assert_eq!(client.server().unwrap().epoch, 1);
}

#[test]
fn a_pending_read_reports_a_lost_connection() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        conn.next_request();
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    let pending = client.send_read(&plan, &[&keys(&plan, &[1])], &options).unwrap();
    assert_eq!(pending.wait().unwrap_err(), Error::Disconnected);
}

#[test]
fn a_late_answer_is_not_taken_for_another() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        let first = conn.next_request().unwrap();
        let second = conn.next_request().unwrap();
        conn.send(&answer(&first));
        conn.send(&answer(&second));
        conn.serve();
    });
    let timeout = Duration::from_millis(80);
    let (client, plan) = fake.client(Config { request_timeout: timeout, ..Config::default() });
    let options = ReadOptions::default();
    let late = client.send_read(&plan, &[&keys(&plan, &[1])], &options).unwrap();
    assert_eq!(late.wait().unwrap_err(), Error::TimedOut);
    for key in [2, 3] {
        let answer = client.read(&plan, &[&keys(&plan, &[key])], &options).unwrap();
        assert_eq!(answer.value(0, 0, 0).unwrap(), Value::Float32(key as f32));
    }
}

#[test]
fn a_damaged_answer_is_an_error_never_an_answer() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        let read = conn.next_request().unwrap();
        let mut reply = answer(&read);
        let last = reply.len() - 1;
        reply[last] ^= 1;
        conn.send(&reply);
        conn.next();
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    let pending = client.send_read(&plan, &[&keys(&plan, &[1])], &options).unwrap();
    assert_eq!(pending.wait().unwrap_err(), Error::Disconnected);
}

#[test]
fn one_thread_takes_answers_as_they_come_without_waiting() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        // The second request is answered first, and the first with the third.
        let asked: Vec<_> = (0..3).map(|_| conn.next_request().unwrap()).collect();
        for at in [1, 0] {
            conn.send(&answer(&asked[at]));
        }
        conn.next();
    });
    let config = Config { request_timeout: Duration::from_millis(300), ..Config::default() };
    let (client, plan) = fake.client(config);
    let options = ReadOptions::default();
    let mut pending: Vec<_> = (0..3)
        .map(|key| client.send_read(&plan, &[&keys(&plan, &[key])], &options).unwrap())
        .collect();
    assert!(pending[1].take().is_none(), "nothing was received yet");
    let (mut order, mut arrived) = (Vec::new(), Vec::new());
    while order.len() < 3 {
        client.receive(&mut arrived);
        for (at, read) in pending.iter_mut().enumerate() {
            if order.iter().any(|(other, _)| *other == at) {
                continue;
            }
            if let Some(answer) = read.take() {
                order.push((
                    at,
                    answer.map(|a| a.value(0, 0, 0).unwrap()).map_err(|e| e.to_string()),
                ));
            }
        }
    }
    order.sort_by_key(|(at, _)| *at);
    assert_eq!(order[0].1, Ok(Value::Float32(0.0)));
    assert_eq!(order[1].1, Ok(Value::Float32(1.0)));
    assert_eq!(order[2].1, Err(Error::TimedOut.to_string()), "one without an answer ends");
    assert_eq!(arrived, [pending[1].number(), pending[0].number()], "in the order of the answers");
}

#[test]
fn requests_that_gather_leave_together_and_a_wait_sends_them_too() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        while let Some(read) = conn.next_request() {
            log.note(conn, &read);
            conn.send(&answer(&read));
        }
    });
    let (client, plan) = fake.client(Config { gather: true, ..Config::default() });
    let options = ReadOptions::default();
    let send = |key| client.send_read(&plan, &[&keys(&plan, &[key])], &options).unwrap();
    let mut pending: Vec<_> = (0..200).map(send).collect();
    assert!(fake.noted().is_empty(), "something left before it was to");
    let (mut arrived, mut taken) = (Vec::new(), 0);
    while taken < pending.len() {
        client.receive(&mut arrived);
        for number in arrived.drain(..) {
            let read = pending.iter_mut().find(|read| read.number() == number).unwrap();
            let answer = read.take().unwrap().unwrap();
            assert_eq!(answer.view(0).unwrap().rows(), 1);
            taken += 1;
        }
    }
    assert_eq!(fake.noted().len(), 200);
    assert_eq!(send(7).wait().unwrap().value(0, 0, 0).unwrap(), Value::Float32(7.0));
}

#[test]
fn an_answer_of_another_shape_is_refused() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        while let Some(read) = conn.next_request() {
            // One row where two were asked: a whole frame, with the right id, of another request.
            let mut other = answer(&read);
            let shorter = super::fake::whole(&read).payload[..24].to_vec();
            let mut frame = Vec::new();
            let id = whole(&other).request_id;
            let start = thermae_formats::wire::begin_frame(
                &mut frame,
                thermae_formats::wire::Kind::Read,
                id,
            );
            frame.extend_from_slice(&shorter);
            frame.extend_from_slice(&[1, 0, 0, 0, 8, 0, 0, 0]);
            frame.extend_from_slice(&5_i64.to_le_bytes());
            thermae_formats::wire::finish_frame(&mut frame, start, 1 << 20).unwrap();
            other = answer(&frame);
            conn.send(&other);
        }
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    let refused = client.read(&plan, &[&keys(&plan, &[5, 6])], &options).unwrap_err();
    assert_eq!(refused, Error::PlanChanged);
}

#[test]
fn a_stale_plan_is_prepared_again_once() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        while let Some(read) = conn.next_request() {
            log.note(conn, &read);
            let stale = log.len() == 1 || log.len() >= 3;
            let mut reply = answer(&read);
            if stale {
                let id = whole(&read).request_id;
                reply.clear();
                ErrorReply::encode(&mut reply, id, ErrorCode::UnknownPlan, 0, "which plan?");
            }
            conn.send(&reply);
        }
    });
    let (client, plan) = fake.client(Config::default());
    let options = ReadOptions::default();
    assert!(client.read(&plan, &[&keys(&plan, &[5])], &options).is_ok());
    let refused = client.read(&plan, &[&keys(&plan, &[5])], &options).unwrap_err();
    assert_eq!(refused, Error::PlanChanged);
}

#[test]
fn a_refusal_says_what_to_do() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        while let Some(read) = conn.next_request() {
            let mut reply = Vec::new();
            let id = whole(&read).request_id;
            ErrorReply::encode(&mut reply, id, ErrorCode::Overloaded, 30, "busy");
            conn.send(&reply);
        }
    });
    let (client, plan) = fake.client(Config::default());
    let refused = client.read(&plan, &[&keys(&plan, &[5])], &ReadOptions::default()).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Overloaded));
    assert_eq!(refused.category(), Some(crate::ErrorCategory::RetryLater));
    assert_eq!(refused.to_string(), "the server refused (300 Overloaded): busy");
}

#[test]
fn no_more_requests_are_in_flight_than_client_and_server_allow() {
    for (ours, theirs) in [(1_000, 2), (2, 1_000)] {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let fake = Fake::start(move |conn, _| {
            conn.limits.in_flight_max = theirs;
            conn.hello();
            let requests: Vec<_> = (0..2).map(|_| conn.next_request().unwrap()).collect();
            held.lock().unwrap().recv().unwrap();
            requests.iter().for_each(|request| conn.send(&answer(request)));
            conn.serve();
        });
        let request_timeout = Duration::from_millis(500);
        let config = Config { in_flight_max: ours, request_timeout, ..Config::default() };
        let (client, plan) = fake.client(config);
        let options = ReadOptions::default();
        let send = |key| client.send_read(&plan, &[&keys(&plan, &[key])], &options);
        let _two = [send(0).unwrap(), send(1).unwrap()];
        assert_eq!(send(2).err(), Some(Error::TimedOut), "both places are taken");
        release.send(()).unwrap();
        // Two answers make two places: the third request goes out and is answered.
        let answer = send(3).unwrap().wait().unwrap();
        assert_eq!(answer.value(0, 0, 0).unwrap(), Value::Float32(3.0));
    }
}

#[test]
fn an_old_answer_come_again_is_not_taken_for_that_of_the_next_request() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        let mut before = Vec::new();
        while let Some(frame) = conn.next_request() {
            let reply = answer(&frame);
            // The request before was answered already, and its place is this one's now.
            conn.send(&[before, reply.clone()].concat());
            before = reply;
        }
    });
    let (client, plan) = fake.client(Config::default());
    for key in 0..4 {
        let asked = keys(&plan, &[key]);
        let answer = client.read(&plan, &[&asked], &ReadOptions::default()).unwrap();
        assert_eq!(answer.value(0, 0, 0).unwrap(), Value::Float32(key as f32));
    }
}

#[test]
fn an_answer_larger_than_any_buffer_arrives_in_pieces() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            let reply = answer(&frame);
            for piece in reply.chunks(10_007) {
                conn.send(piece);
            }
        }
    });
    let (client, plan) = fake.client(Config::default());
    let wanted: Vec<i64> = (0..16_000).collect();
    let answer = client.read(&plan, &[&keys(&plan, &wanted)], &ReadOptions::default()).unwrap();
    let view = answer.view(0).unwrap();
    assert!(wanted.iter().all(|key| {
        view.column(1).unwrap().value(*key as usize) == Some(format!("k{key}").as_bytes())
    }));
}

#[test]
fn reads_go_over_every_connection_of_the_pool() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, plan) = fake.client(Config { pool_size: 3, ..Config::default() });
    for key in 0..6 {
        client.read(&plan, &[&keys(&plan, &[key])], &ReadOptions::default()).unwrap();
    }
    let connections: Vec<usize> = fake.noted().iter().map(|noted| noted.0).collect();
    assert_eq!(connections, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn what_is_no_server_is_told_apart() {
    let fake = Fake::start(|conn, _| conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n nothing here"));
    let refused = Client::connect(&fake.address, Config::default()).err().unwrap();
    assert!(matches!(refused, Error::Connect { .. }), "{refused}");
    let gone = "127.0.0.1:1".parse().unwrap();
    assert!(matches!(Client::connect(&gone, Config::default()), Err(Error::Connect { .. })));
}
