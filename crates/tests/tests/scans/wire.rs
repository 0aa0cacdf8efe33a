//! SCAN, through a server and a client.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use thermae_client::{
    Address, Client, Config, ErrorCode, Plan, ScanOptions, ViewFeatures, WriteBatch,
};
use thermae_engine::store::Row;
use thermae_formats::KeyValue;
use thermae_formats::schema::TierPolicy;
use thermae_server::serve::{Running, ServeOptions, start};

use super::{row, view};

/// A served store of readings, and a client with a plan of them.
fn served(dir: &std::path::Path) -> (Running, Client, Plan) {
    let running = start(ServeOptions {
        data: dir.join("data"),
        listen: Some("127.0.0.1:0".to_owned()),
        unix: None,
        http: None,
        cores: 2,
        memory_bytes: 128 << 20,
        ..ServeOptions::default()
    })
    .unwrap();
    running.handle().apply(&[view(TierPolicy::default())]).unwrap();
    let address = Address::Tcp(running.tcp_addr().unwrap().to_string());
    let client = Client::connect(&address, Config::default()).unwrap();
    let features = vec!["text", "n"];
    let wanted = ViewFeatures { project: "test", view: "readings", version: 0, features };
    let plan = client.prepare(&[wanted]).unwrap();
    (running, client, plan)
}

fn send(client: &Client, rows: impl Iterator<Item = Row>) {
    let handle = client.view("test", "readings").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for row in rows {
        batch.push(&row.key, row.event_time, row.created_time, &row.values).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
}

/// Awaits a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn pages_over_the_wire_are_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client, plan) = served(dir.path());
    send(&client, (0..2_000).map(|n| row(n % 100, n / 100)));
    let options = ScanOptions { page_bytes: 20_000, ..ScanOptions::default() };
    let (mut rows, mut pages, mut place) = (Vec::new(), 0, None);
    loop {
        // Asked for in both ways.
        let page = match pages % 2 {
            0 => client.scan(&plan, &options, place.as_deref()).unwrap(),
            _ => block_on(client.send_scan(&plan, &options, place.as_deref()).unwrap()).unwrap(),
        };
        pages += 1;
        let here: Vec<_> = page.rows().map(Result::unwrap).collect();
        assert_eq!(here.len(), page.len());
        for scanned in here {
            let [KeyValue::Int(id)] = scanned.key[..] else { panic!("{scanned:?}") };
            let mut values = row(id, scanned.event_time).values;
            values.reverse();
            assert_eq!(scanned.values, Some(values));
            rows.push((id, scanned.event_time));
        }
        place = page.place().map(<[u8]>::to_vec);
        if place.is_none() {
            break;
        }
        // The cursor that is kept shows the time of the first page.
        send(&client, (0..10).map(|n| row(n, 500 + pages)));
    }
    assert!(pages > 10, "{pages} pages");
    assert_eq!(rows.iter().filter(|row| row.1 < 500).count(), 2_000);
    rows.sort_unstable();
    assert!(rows.windows(2).all(|two| two[0] != two[1]), "a row came twice");
    // What was just acknowledged is seen by what begins.
    send(&client, std::iter::once(row(7, 9_000)));
    let one = ScanOptions {
        key: Some(vec![KeyValue::Int(7)]),
        event_times: 9_000..=9_001,
        ..ScanOptions::default()
    };
    let page = client.scan(&plan, &one, None).unwrap();
    assert_eq!((page.len(), page.place()), (1, None));
    running.stop().unwrap();
}

#[test]
fn scans_that_make_no_sense_are_refused_and_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client, plan) = served(dir.path());
    send(&client, (0..300).map(|n| row(n, 1)));
    let options = ScanOptions { page_bytes: 1, ..ScanOptions::default() };
    // A page has one row at least.
    assert_eq!(client.scan(&plan, &options, None).unwrap().len(), 1);
    for place in [&b"x"[..], &[1; 5], &[1; 26], &[1; 2_000]] {
        let error = client.scan(&plan, &options, Some(place)).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Malformed), "{error}");
    }
    let both: Vec<_> = (0..2).map(|_| client.send_scan(&plan, &options, None).unwrap()).collect();
    let both: Vec<_> = both.into_iter().map(thermae_client::PendingScan::wait).collect();
    assert!(both[0].is_ok());
    let is_refused =
        both[1].as_ref().is_err_and(|error| error.code() == Some(ErrorCode::TooManyInFlight));
    assert!(is_refused || both[1].is_ok(), "{:?}", both[1]);
    let hashes = std::ops::RangeInclusive::new(5, 4);
    let none = ScanOptions { hashes, ..ScanOptions::default() };
    assert_eq!(client.scan(&plan, &none, None).unwrap().len(), 0);
    running.stop().unwrap();
}
