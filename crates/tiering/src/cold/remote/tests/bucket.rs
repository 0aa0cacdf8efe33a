//! One call after the other, through everything that may become of it.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::server::{Asked, Fate, Server};
use crate::cold::{ObjectError, Objects, PutNew};

/// What goes by when the call is made again: the client does that itself.
const PASSING: [Fate; 6] = [
    Fate::Status(500, "InternalError"),
    Fate::Status(503, "SlowDown"),
    Fate::Status(429, "TooManyRequests"),
    Fate::DoneThen(500, "InternalError"),
    Fate::ResetBefore,
    Fate::ResetAfter,
];

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_bucket_does_what_objects_promise() {
    let server = Server::start();
    let objects = server.open("a root/x");
    assert_eq!(objects.put_new("t/b=1/1", text("one")), Ok(PutNew::Created));
    assert_eq!(objects.put_new("t/b=1/1", text("other")), Ok(PutNew::Exists));
    for path in ["t/b=1/2", "t/b=1/3", "t/b=1/4", "t/b=1/5", "tt/1", "t2"] {
        assert_eq!(objects.put_new(path, text("more")), Ok(PutNew::Created));
    }
    assert_eq!(objects.get("t/b=1/1"), Ok(text("one")));
    assert_eq!(objects.get_range("t/b=1/1", 1..100), Ok(text("ne")));
    assert_eq!(objects.get_range("t/b=1/1", 1..1), Ok(Bytes::new()));
    assert_eq!(objects.get("t/none"), Err(ObjectError::NotFound));
    let list = |prefix, after| {
        let listed = objects.list(prefix, after).unwrap();
        listed.into_iter().map(|object| (object.path, object.bytes)).collect::<Vec<_>>()
    };
    let five: Vec<_> =
        (1..=5).map(|at| (format!("t/b=1/{at}"), if at == 1 { 3 } else { 4 })).collect();
    assert_eq!(list("t/", ""), five, "over several pages");
    assert_eq!(list("t/b=1/", "t/b=1/2"), five[2..]);
    assert_eq!(list("none/", ""), []);
    assert_eq!(objects.replace("t/b=1/1", text("new")), Ok(()));
    assert_eq!(objects.get("t/b=1/1"), Ok(text("new")));
    assert_eq!((objects.delete("t/b=1/1"), objects.delete("t/b=1/1")), (Ok(()), Ok(())));
    assert_eq!(list("t/", ""), five[1..]);
    // The root is a prefix of the bucket's keys.
    assert!(server.objects.get("a root/x/t/b=1/2").is_ok());
}

#[test]
fn what_is_larger_than_a_part_comes_in_parts_and_whole_or_not_at_all() {
    let server = Server::start();
    let objects = server.open_patiently();
    let piece = Bytes::from(vec![7; 3 << 20]);
    let upload = |count: usize, fails: bool| {
        let mut given = 0;
        objects.put_pieces("large", &mut || {
            given += 1;
            match given {
                given if given <= count => Ok(Some(piece.clone())),
                _ if fails => Err(ObjectError::Refused("no more".to_owned())),
                _ => Ok(None),
            }
        })
    };
    for count in [0, 1, 5, 6, 13] {
        assert_eq!(upload(count, false), Ok(()));
        let found = server.objects.get("large").unwrap();
        assert_eq!(found.len(), count * piece.len());
        assert!(found.iter().all(|byte| *byte == 7));
    }
    assert_eq!(upload(14, true), Err(ObjectError::Refused("no more".to_owned())));
    assert_eq!(server.objects.get("large").unwrap().len(), 13 * piece.len());
    server.fail("PUT", Fate::ResetAfter, 1);
    assert_eq!(upload(14, false), Ok(()), "a part may come twice");
    assert_eq!(server.objects.get("large").unwrap().len(), 14 * piece.len());
    // The answer to the last call is lost each time; the upload is not there any more for its repetition.
    let is_last = |asked: &Asked| asked.method == "POST" && asked.query.contains_key("uploadId");
    server.set_fates(move |asked| if is_last(asked) { Fate::ResetAfter } else { Fate::Works });
    assert_eq!(upload(15, false), Ok(()), "it is there");
    assert_eq!(server.objects.get("large").unwrap().len(), 15 * piece.len());
}

#[test]
fn what_goes_by_is_tried_again_and_done_once() {
    for fate in PASSING {
        let server = Server::start();
        let objects = server.open("");
        objects.put_new("before", text("before")).unwrap();
        server.fail("PUT", fate, 1);
        let put = objects.put_new("new", text("new"));
        // Where its answer is lost, the client may have made the object, and says so or that it does not know:
        // whoever put it looks what is there.
        let was_done = matches!(fate, Fate::DoneThen(..) | Fate::ResetAfter);
        let is_lost = was_done || fate == Fate::ResetBefore;
        let is_told = matches!(put, Ok(PutNew::Exists) | Err(ObjectError::NoAnswer(_)));
        assert!(put == Ok(PutNew::Created) || (is_lost && is_told), "{fate:?}: {put:?}");
        let again = if was_done || put.is_ok() { PutNew::Exists } else { PutNew::Created };
        assert_eq!(objects.put_new("new", text("new")), Ok(again), "{fate:?}");
        assert_eq!(server.objects.get("new"), Ok(text("new")), "{fate:?}");
        server.fail("GET", fate, 1);
        assert_eq!(objects.get("new"), Ok(text("new")), "{fate:?}");
        server.fail("GET", fate, 1);
        assert_eq!(objects.get_range("new", 1..2), Ok(text("e")), "{fate:?}");
        server.fail("GET", fate, 1);
        assert_eq!(objects.list("none/", "").map(|listed| listed.len()), Ok(0), "{fate:?}");
        server.fail("DELETE", fate, 1);
        let deleted = objects.delete("new");
        assert!(matches!(deleted, Ok(()) | Err(ObjectError::NoAnswer(_))), "{fate:?}: {deleted:?}");
        assert_eq!(objects.delete("new"), Ok(()));
        assert_eq!(server.objects.get("new"), Err(ObjectError::NotFound));
    }
}

#[test]
fn what_does_not_go_by_ends_in_time_and_may_have_been_done() {
    let lasting = [PASSING.as_slice(), &[Fate::Silent, Fate::DoneSilent]].concat();
    for fate in lasting {
        let server = Server::start();
        let objects = server.open("");
        objects.put_new("old", text("old")).unwrap();
        let asked = server.requests.load(Ordering::Relaxed);
        let is_no_answer = |error: Option<ObjectError>| {
            let error = error.unwrap_or_else(|| panic!("{fate:?}: done"));
            assert!(error.is_transient(), "{fate:?}: {error}");
            assert!(!error.to_string().contains("signed"), "{error}");
        };
        server.fail("GET", fate, u64::MAX);
        is_no_answer(objects.get("old").err());
        server.fail("PUT", fate, u64::MAX);
        is_no_answer(objects.put_new("new", text("new")).err());
        let asked = server.requests.load(Ordering::Relaxed) - asked;
        assert!(asked <= 6, "{fate:?}: three times each at most, {asked}");
        server.fail("PUT", Fate::Works, 0);
        let was_done = matches!(fate, Fate::DoneThen(..) | Fate::ResetAfter | Fate::DoneSilent);
        let again = if was_done { PutNew::Exists } else { PutNew::Created };
        assert_eq!(objects.put_new("new", text("new")), Ok(again), "{fate:?}");
    }
}

#[test]
fn a_body_that_is_cut_is_no_body_and_one_that_says_so_is_short() {
    let server = Server::start();
    let objects = server.open("");
    objects.put_new("o", text("0123456789")).unwrap();
    server.fail("GET", Fate::Truncated, 1);
    let read = objects.get("o");
    assert!(read == Ok(text("0123456789")) || read.is_err_and(|e| e.is_transient()));
    server.fail("GET", Fate::Truncated, u64::MAX);
    let error = objects.get("o").unwrap_err();
    assert!(error.is_transient(), "{error}");
    // Nobody can tell that from an object that is shorter: callers know how long it is.
    server.fail("GET", Fate::Short, u64::MAX);
    assert_eq!(objects.get("o"), Ok(text("01234")));
}

#[test]
fn a_refusal_says_its_code_and_nothing_that_was_signed() {
    let server = Server::start();
    let objects = server.open("");
    objects.put_new("o", text("o")).unwrap();
    let cases = [
        (Fate::Status(403, "SignatureDoesNotMatch"), "SignatureDoesNotMatch; look at the key"),
        (Fate::Status(401, ""), "status 401"),
        (Fate::Status(404, "NoSuchBucket"), "404 Not Found, NoSuchBucket"),
        (Fate::Status(400, "InvalidArgument"), "InvalidArgument"),
        (Fate::Status(301, "PermanentRedirect"), "look at the region"),
        (Fate::Status(507, "Full"), "507"),
    ];
    for (fate, words) in cases {
        let asked = server.requests.load(Ordering::Relaxed);
        server.fail("GET", fate, u64::MAX);
        let error = objects.get("o").unwrap_err();
        assert!(matches!(error, ObjectError::Refused(_)), "{fate:?}: {error}");
        let shown = error.to_string();
        assert!(shown.contains(words) && !shown.contains("signed"), "{shown}");
        assert_eq!(server.requests.load(Ordering::Relaxed), asked + 1, "{fate:?}: once");
    }
    server.fail("PUT", Fate::Status(501, "NotImplemented"), u64::MAX);
    let error = objects.put_new("new", text("new")).unwrap_err();
    assert!(error.to_string().contains("conditional writes"), "{error}");
}

#[test]
fn an_object_that_another_is_just_writing_is_not_there_yet() {
    let server = Server::start();
    let objects = server.open("");
    objects.put_new("o", text("o")).unwrap();
    server.fail("PUT", Fate::Status(409, "ConditionalRequestConflict"), 1);
    let error = objects.put_new("new", text("new")).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(objects.put_new("new", text("new")), Ok(PutNew::Created));
}

#[test]
fn a_store_that_writes_over_what_is_there_is_refused_before_it_can() {
    let server = Server::without_conditions();
    let objects = server.open("");
    let error = objects.put_new("o", text("o")).unwrap_err();
    assert!(error.to_string().contains("writes over objects"), "{error}");
    assert_eq!(server.objects.get("o"), Err(ObjectError::NotFound));
}

#[test]
fn several_threads_share_one_client() {
    let server = Server::start();
    let objects = server.open("");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let objects = &objects;
            scope.spawn(move || {
                for at in 0..20 {
                    let path = format!("{thread}/{at}");
                    objects.put_new(&path, path.clone().into()).unwrap();
                    assert_eq!(objects.get(&path), Ok(path.into()));
                }
            });
        }
    });
    assert_eq!(objects.list("0/", "").unwrap().len(), 20);
}

#[test]
fn an_option_that_is_none_is_named_without_its_value() {
    let options = crate::cold::OpenOptions {
        values: [("aws_sekret".to_owned(), "SECRET".to_owned())].into(),
        ..Default::default()
    };
    let error = crate::cold::open_url("s3://bucket", &options).err().unwrap().to_string();
    assert!(error.contains("aws_sekret") && !error.contains("SECRET"), "{error}");
    let server = Server::start();
    let objects = server.open_with("", "SECRET").unwrap();
    server.fail("GET", Fate::ResetBefore, u64::MAX);
    let error = objects.get("o").unwrap_err().to_string();
    assert!(!error.contains("SECRET"), "{error}");
}
