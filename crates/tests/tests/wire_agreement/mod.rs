//! Two decoders of the protocol, one in Rust, one in Python written from docs/protocol.md alone:
//! they agree on every golden frame and on frames made from seeds.

mod describe;
mod seeded;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use thermae_formats::wire::*;
use thermae_formats::{Feature, JoinKey, KeyType, RowLayout, ValueType};

use self::describe::decode;
use self::seeded::{Seeded, seeded_columns, seeded_read, seeded_write};

const MAX: u32 = DEFAULT_MAX_FRAME_BYTES;
const SEEDED_ROUNDS: u64 = 12;

/// What a frame does not carry itself: types by view.
#[derive(Clone, Default)]
struct Given {
    columns: Vec<Vec<ValueType>>,
    keys: Vec<Vec<KeyType>>,
}

fn types(texts: &[&str]) -> Vec<ValueType> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn join_keys(types: &[KeyType]) -> Vec<JoinKey> {
    let named = types.iter().enumerate();
    named.map(|(n, key_type)| JoinKey { name: format!("k{n}"), key_type: *key_type }).collect()
}

fn layout(types: &[ValueType]) -> RowLayout {
    let feature = |(n, value_type): (usize, &ValueType)| Feature {
        name: format!("f{n}"),
        value_type: value_type.clone(),
        default: None,
        description: String::new(),
        tags: Default::default(),
    };
    RowLayout::new(&types.iter().enumerate().map(feature).collect::<Vec<_>>()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frames of the golden files, with what they do not carry.
fn golden() -> Vec<(Vec<u8>, Given)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../formats/golden");
    let mut frames: Vec<(Vec<u8>, Given)> = Vec::new();
    for file in ["hello", "prepare", "read", "reply", "write", "scan", "history", "control"] {
        let text = std::fs::read_to_string(folder.join(format!("wire-{file}.txt"))).unwrap();
        let columns = match file {
            "write" | "scan" => vec![types(&["float32"; 4])],
            _ => {
                let mixed = ["float32", "string", "int64", "vector<float32, 3>", "bool", "bytes"];
                vec![types(&mixed), types(&["float32"])]
            }
        };
        let mut keys = vec![vec![KeyType::String, KeyType::Int64], vec![]];
        if file == "write" || file == "scan" {
            keys[0].pop();
        }
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let bytes = line.split(' ').map(|byte| u8::from_str_radix(byte, 16));
            match bytes.collect::<Result<Vec<u8>, _>>() {
                Ok(bytes) if !frames.is_empty() => frames.last_mut().unwrap().0.extend(bytes),
                _ => {
                    let (columns, keys) = (columns.clone(), keys.clone());
                    frames.push((Vec::new(), Given { columns, keys }));
                }
            }
        }
    }
    frames
}

fn ask_python(frames: &[(Vec<u8>, Given)]) -> Vec<Json> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python/decode.py");
    let mut python = Command::new("python3")
        .args(["-B".as_ref(), script.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 (3.11 or later) runs the second decoder");
    let mut input = python.stdin.take().unwrap();
    let mut lines = String::new();
    for (frame, given) in frames {
        let names = |types: &Vec<ValueType>| types.iter().map(ToString::to_string).collect();
        let columns: Vec<Vec<String>> = given.columns.iter().map(names).collect();
        let names = |types: &Vec<KeyType>| types.iter().map(ToString::to_string).collect();
        let keys: Vec<Vec<String>> = given.keys.iter().map(names).collect();
        lines += &json!({"frame": hex(frame), "columns": columns, "keys": keys}).to_string();
        lines.push('\n');
    }
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn both_decoders_agree_on_every_frame() {
    let mut frames = golden();
    assert!(frames.len() >= 20, "the golden files hold every kind");
    for round in 1..=SEEDED_ROUNDS {
        let mut seeded = Seeded(round);
        frames.push(seeded_columns(&mut seeded));
        frames.push(seeded_write(&mut seeded));
        frames.push(seeded_read(&mut seeded));
    }
    let theirs = ask_python(&frames);
    assert_eq!(theirs.len(), frames.len());
    for ((frame, given), theirs) in frames.iter().zip(theirs) {
        let ours = decode(&Frame::check(frame, MAX).unwrap(), given);
        assert_eq!(ours, theirs, "frame {}", hex(frame));
    }
}

#[test]
fn the_second_decoder_refuses_what_the_first_refuses() {
    let mut frames = Vec::new();
    for (frame, given) in golden() {
        for at in (0..frame.len()).step_by(5) {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            assert!(!matches!(split_frame(&flipped, MAX), Ok(Some(_))));
            frames.push((flipped, given.clone()));
        }
    }
    for theirs in ask_python(&frames) {
        assert!(theirs.get("refused").is_some(), "{theirs}");
    }
}
