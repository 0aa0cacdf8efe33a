//! Futures under the smallest executor there is.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use thermae_formats::{KeyValue, NO_TIME, Value};

use super::fake::{Fake, answer, keys};
use crate::{Config, Error, ReadOptions, WriteBatch};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls only when woken: a wake-up that is missing hangs the test.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn reads_are_awaited_without_a_runtime() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        loop {
            let some: Vec<_> = (0..4).map_while(|_| conn.next_request()).collect();
            some.iter().rev().for_each(|frame| conn.send(&answer(frame)));
            if some.len() < 4 {
                return;
            }
        }
    });
    let (client, plan) = fake.client(Config::default());
    for _ in 0..3 {
        let options = ReadOptions::default();
        let send = |key| client.send_read(&plan, &[&keys(&plan, &[key])], &options).unwrap();
        let pending: Vec<_> = (0..4).map(send).collect();
        for (key, pending) in pending.into_iter().enumerate() {
            let answer = block_on(pending).unwrap();
            assert_eq!(answer.value(0, 0, 0).unwrap(), Value::Float32(key as f32));
        }
    }
}

#[test]
fn waiting_and_awaiting_share_a_connection() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        conn.serve();
    });
    let (client, plan) = fake.client(Config::default());
    thread::scope(|scope| {
        for turn in 0..4_i64 {
            let (client, plan) = (&client, &plan);
            scope.spawn(move || {
                for key in turn * 100..turn * 100 + 50 {
                    let options = ReadOptions::default();
                    let asked = keys(plan, &[key]);
                    let pending = client.send_read(plan, &[&asked], &options).unwrap();
                    let answer = if turn % 2 == 0 { pending.wait() } else { block_on(pending) };
                    let value = answer.unwrap().value(0, 0, 0).unwrap();
                    assert_eq!(value, Value::Float32(key as f32));
                }
            });
        }
    });
}

#[test]
fn a_future_fails_with_its_connection_and_at_its_deadline() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        if conn.number == 0 {
            conn.next_request();
            return;
        }
        while conn.next_request().is_some() {}
    });
    let timeout = Duration::from_millis(100);
    let (client, plan) = fake.client(Config { request_timeout: timeout, ..Config::default() });
    let options = ReadOptions::default();
    let send = || client.send_read(&plan, &[&keys(&plan, &[1])], &options).unwrap();
    assert_eq!(block_on(send()).unwrap_err(), Error::Disconnected);
    assert_eq!(block_on(send()).unwrap_err(), Error::TimedOut);
}

#[test]
fn an_awaited_write_outlives_its_connection() {
    let fake = Fake::start(|conn, log| {
        conn.hello();
        while let Some(frame) = conn.next_request() {
            log.note(conn, &frame);
            if conn.number == 0 {
                return;
            }
            let reply = answer(&frame);
            conn.send(&reply);
        }
    });
    let (client, _) = fake.client(Config::default());
    let handle = client.view("p", "v").unwrap();
    let mut batch = WriteBatch::put(&handle);
    batch.push(&[KeyValue::Int(1)], 1, NO_TIME, &[Value::Null, Value::Null]).unwrap();
    let written = block_on(client.send_write(&mut batch).unwrap()).unwrap();
    assert!(written.all_ok());
    let noted = fake.noted();
    assert_eq!(noted.len(), 2);
    assert_eq!(noted[0].1, noted[1].1);
}
