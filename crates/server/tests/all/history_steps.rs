//! The steps of a training read over the wire: their order, their limits, and how they end.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use arrow_array::{Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use thermae_client::{
    Address, Client, Config, Error, ErrorCode, History, HistoryQuery, HistoryView,
};
use thermae_server::serve::Limits;

use crate::peer::{Server, weather};

fn client(server: &Server) -> Client {
    let address = Address::Tcp(server.address().to_string());
    let client = Client::connect(&address, Config::default()).unwrap();
    let mut peer = server.tcp();
    peer.apply(&weather(0)).unwrap();
    client
}

fn query() -> HistoryQuery {
    HistoryQuery {
        time_column: "at".to_owned(),
        views: vec![HistoryView { view: "weather".to_owned(), ..HistoryView::default() }],
        ..HistoryQuery::default()
    }
}

/// A spine of so many rows as a stream.
fn spine(rows: i64) -> Vec<u8> {
    let keys: StringArray = (0..rows).map(|row| Some(format!("k{}", row % 97))).collect();
    let times = TimestampMicrosecondArray::from_iter_values(0..rows);
    let labels = Int64Array::from_iter_values(0..rows);
    let batch = RecordBatch::try_from_iter([
        ("label", Arc::new(labels) as _),
        ("origin", Arc::new(keys) as _),
        ("at", Arc::new(times) as _),
    ]);
    let batch = batch.unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    for begin in (0..batch.num_rows()).step_by(5_000) {
        writer.write(&batch.slice(begin, 5_000.min(batch.num_rows() - begin))).unwrap();
    }
    writer.into_inner().unwrap()
}

fn code<T>(result: Result<T, Error>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn what_is_sent_comes_back_with_features_behind_it_by_waiting_and_by_awaiting() {
    let server = Server::start(2);
    let client = client(&server);
    let stream = spine(12_000);
    let mut history = client.history(&query()).unwrap();
    history.write_all(&stream).unwrap();
    let mut answer = StreamReader::try_new(history.join().unwrap(), None).unwrap();
    let mut rows = 0;
    for batch in answer.by_ref() {
        let batch = batch.unwrap();
        let labels = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(labels.value(0), rows);
        assert_eq!(batch.column(3).null_count(), batch.num_rows());
        rows += batch.num_rows() as i64;
    }
    assert_eq!((rows, answer.get_ref().tallies()), (12_000, &[Default::default()][..]));

    let history = client.history(&query()).unwrap();
    let (first, last) = stream.split_at(1_001);
    block_on(history.send_put(first, false).unwrap()).unwrap();
    block_on(history.send_put(last, true).unwrap()).unwrap();
    let answer = history.into_answer();
    let mut bytes = Vec::new();
    loop {
        let piece = block_on(answer.send_next().unwrap()).unwrap();
        bytes.extend_from_slice(piece.bytes());
        if piece.is_over() {
            let steps = piece.steps();
            assert_eq!((steps.rows, steps.joined, steps.answered), (12_000, 12_000, 12_000));
            break;
        }
    }
    let batches = StreamReader::try_new(&bytes[..], None).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 12_000);
    assert_eq!(code(block_on(answer.send_next().unwrap())), ErrorCode::UnknownPlan);
}

#[test]
fn steps_out_of_order_and_bytes_that_are_no_spine_end_the_read_with_a_reason() {
    let server = Server::start(1);
    let client = client(&server);
    let begin = || client.history(&query()).unwrap();
    let answer = begin().into_answer();
    assert_eq!(code(answer.send_next().unwrap().wait()), ErrorCode::Malformed);
    assert_eq!(code(answer.send_next().unwrap().wait()), ErrorCode::UnknownPlan);

    let after = begin();
    after.send_put(&spine(10), true).unwrap().wait().unwrap();
    assert_eq!(code(after.send_put(b"more", false).unwrap().wait()), ErrorCode::Malformed);

    let whole = spine(10);
    for (bytes, words) in [
        (&b"PAR1 no stream at all"[..], "does not begin"),
        (&whole[..whole.len() - 8], "end mark"),
        (&whole[..300], "middle"),
    ] {
        let mut history = begin();
        history.write_all(bytes).unwrap();
        let mut answer = history.join().unwrap();
        let error = answer.wait(|_| {}).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Malformed));
        assert!(error.to_string().contains(words), "{error}");
    }
    for (changed, expected, words) in [
        (HistoryQuery { time_column: "then".to_owned(), ..query() }, ErrorCode::Malformed, "then"),
        (
            HistoryQuery { time_column: "label".to_owned(), ..query() },
            ErrorCode::Malformed,
            "label",
        ),
        (HistoryQuery { views: Vec::new(), ..query() }, ErrorCode::Malformed, "no features"),
        (of("nobody", &[]), ErrorCode::UnknownView, "nobody"),
        (of("weather", &["height"]), ErrorCode::UnknownFeature, "height"),
    ] {
        let mut history = client.history(&changed).unwrap();
        history.write_all(&whole).unwrap();
        let mut answer = history.join().unwrap();
        let mut read = Vec::new();
        let io = answer.read_to_end(&mut read).unwrap_err();
        let error: &Error = io.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(error.code(), Some(expected), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn of(view: &str, features: &[&str]) -> HistoryQuery {
    let features = features.iter().map(|name| (*name).to_owned()).collect();
    let view = HistoryView { view: view.to_owned(), features, ..HistoryView::default() };
    HistoryQuery { views: vec![view], ..query() }
}

/// Begins a read as soon as there is a place for it.
fn begin_when_possible(client: &Client) -> History {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match client.history(&query()) {
            Ok(history) => return history,
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::Overloaded), "{error}"),
        }
        assert!(Instant::now() < until, "places are not given back");
    }
}

#[test]
fn reads_are_few_and_those_whose_client_goes_give_their_place_and_their_files_back() {
    let limits = Limits { training_reads: 2, ..Limits::default() };
    let server = Server::start_with(1, limits);
    let client = client(&server);
    let spill = server.directory.path().join("data/spill");
    let files = || std::fs::read_dir(&spill).map_or(0, |entries| entries.count());
    let (mut one, two) = (client.history(&query()).unwrap(), client.history(&query()).unwrap());
    assert_eq!(code(client.history(&query())), ErrorCode::Overloaded);
    one.write_all(&spine(100_000)).unwrap();
    two.send_put(&spine(100), false).unwrap().wait().unwrap();
    assert_eq!(files(), 2);
    // One goes while it is joined, the other while its spine is sent.
    let answer = one.join().unwrap();
    drop((answer, two));
    let again = (begin_when_possible(&client), begin_when_possible(&client));
    assert_eq!(code(client.history(&query())), ErrorCode::Overloaded);
    drop(again);
    let until = Instant::now() + Duration::from_secs(60);
    while files() > 0 {
        client.ping().unwrap();
        assert!(Instant::now() < until, "spill files are left");
    }
}

#[test]
fn a_spine_beyond_the_limit_is_refused_and_a_read_that_nobody_asks_about_ends() {
    let limits = Limits { spine_bytes: 10_000, training_idle_ms: 20, ..Limits::default() };
    let server = Server::start_with(1, limits);
    let client = client(&server);
    let large = client.history(&query()).unwrap();
    assert_eq!(code(large.send_put(&spine(5_000), false).unwrap().wait()), ErrorCode::TooLarge);
    let forgotten = client.history(&query()).unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(200) {
        client.ping().unwrap();
    }
    assert_eq!(code(forgotten.send_put(b"", false).unwrap().wait()), ErrorCode::UnknownPlan);
}

#[test]
fn a_server_stops_while_training_reads_wait_for_their_clients() {
    let server = Server::start(1);
    let client = client(&server);
    let sending = client.history(&query()).unwrap();
    let mut joining = client.history(&query()).unwrap();
    joining.write_all(&spine(50_000)).unwrap();
    let joining = joining.join().unwrap();
    let since = Instant::now();
    server.running.stop().unwrap();
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    drop((sending, joining));
}
