//! Frames made from seeds: what nobody thought of.

use thermae_formats::row_value::encode_value;
use thermae_formats::wire::*;
use thermae_formats::{KeyType, KeyValue, NO_TIME, Value, ValueType, encode_key};

use super::{Given, join_keys, layout, types};

const MAX: u32 = DEFAULT_MAX_FRAME_BYTES;

/// xorshift64*: enough to make frames that nobody thought of.
pub struct Seeded(pub u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        (0..self.below(12)).map(|_| ['a', 'é', '\0', '漢', '"', '🛁'][self.below(6)]).collect()
    }

    fn value(&mut self, value_type: &ValueType) -> Value {
        let text = value_type.to_string();
        if self.below(5) == 0 {
            return Value::Null;
        }
        if let Some(element) = text.strip_prefix("list<").and_then(|t| t.strip_suffix('>')) {
            let element = element.parse().unwrap();
            let values = (0..self.below(4)).map(|_| self.value(&element));
            return Value::List(values.filter(|value| !value.is_null()).collect());
        }
        match text.as_str() {
            "bool" => Value::Bool(self.below(2) == 1),
            "int32" => Value::Int32(self.next() as i32),
            "int64" => Value::Int64(self.next() as i64),
            "float32" => Value::Float32(f32::from_bits(self.next() as u32)),
            "float64" => Value::Float64(f64::from_bits(self.next())),
            "timestamp" => Value::Timestamp(self.next() as i64),
            "string" => Value::String(self.text()),
            "json" => Value::Json("{\"a\": [1]}".to_owned()),
            "bytes" => Value::Bytes(self.bytes(60)),
            "uuid" => Value::Uuid([self.next() as u8; 16]),
            "opaque<map>" => Value::Opaque(self.bytes(9)),
            _ => Value::Vector((0..3).map(|_| f32::from_bits(self.next() as u32)).collect()),
        }
    }
}

fn every_type() -> Vec<ValueType> {
    let scalars = "bool int32 int64 float32 float64 string bytes timestamp uuid json";
    let mut all = types(&scalars.split(' ').collect::<Vec<_>>());
    let lists: Vec<String> = scalars.split(' ').map(|name| format!("list<{name}>")).collect();
    all.extend(types(&lists.iter().map(String::as_str).collect::<Vec<_>>()));
    all.extend(types(&["vector<float32, 3>", "opaque<map>"]));
    all
}

const KEYS: [KeyType; 5] =
    [KeyType::Int32, KeyType::Int64, KeyType::String, KeyType::Bytes, KeyType::Uuid];

fn seeded_key(seeded: &mut Seeded, types: &[KeyType], out: &mut Vec<u8>) {
    let one = |key_type: &KeyType| match key_type {
        KeyType::Int32 => KeyValue::Int(i64::from(seeded.next() as i32)),
        KeyType::Int64 => KeyValue::Int(seeded.next() as i64),
        KeyType::String => KeyValue::String(seeded.text()),
        KeyType::Bytes => KeyValue::Bytes(seeded.bytes(20)),
        KeyType::Uuid => KeyValue::Uuid([seeded.next() as u8; 16]),
    };
    let values: Vec<KeyValue> = types.iter().map(one).collect();
    encode_key(&join_keys(types), &values, out).unwrap();
}

pub fn seeded_columns(seeded: &mut Seeded) -> (Vec<u8>, Given) {
    let columns = every_type();
    let shapes: Vec<ColumnShape> = columns.iter().map(ColumnShape::of).collect();
    let rows = seeded.below(70) as u32;
    let views = [ViewShape { rows, columns: &shapes }];
    let flags = ReadFlags { matrix: seeded.below(4) == 0, event_times: seeded.below(2) == 0 };
    let mut builder = ReplyBuilder::new();
    let (id, now) = (seeded.next(), seeded.next() as i64);
    builder.begin(Vec::new(), id, flags, now, MAX, views.into_iter()).unwrap();
    for row in (0..rows as usize).rev() {
        let statuses =
            [RowStatus::NotFound, RowStatus::Present, RowStatus::OutsideMaxAge, RowStatus::Error];
        builder.set_status(0, row, statuses[seeded.below(4)]);
        builder.set_event_time(0, row, seeded.next() as i64);
        if flags.matrix {
            builder.with_matrix_row(0, row, |cells| {
                cells.iter_mut().for_each(|c| *c = f32::from_bits(seeded.next() as u32));
            });
            continue;
        }
        for (column, value_type) in columns.iter().enumerate() {
            let value = seeded.value(value_type);
            let mut bytes = Vec::new();
            encode_value(value_type, &value, &mut bytes).unwrap();
            if value.is_null() {
                continue;
            }
            if shapes[column].width_bytes == 0 {
                builder.set_variable(0, column, row, &bytes).unwrap();
            } else {
                builder.set_fixed(0, column, row, &bytes);
            }
        }
    }
    let given = Given { columns: vec![columns], keys: Vec::new() };
    (builder.finish().unwrap(), given)
}

pub fn seeded_write(seeded: &mut Seeded) -> (Vec<u8>, Given) {
    let columns = every_type();
    let head = WriteHead {
        view_id: seeded.next() as u32,
        schema_id: seeded.next() as u16,
        ack: [Ack::Logged, Ack::Durable, Ack::Replicated][seeded.below(3)],
        explicit_sequences: seeded.below(2) == 0,
        producer_id: seeded.next(),
        first_sequence: seeded.next() >> 1,
    };
    let mut out = Vec::new();
    let id = seeded.next();
    let mut taken = columns.clone();
    let mut encoder = match seeded.below(3) {
        0 => WriteEncoder::put(&mut out, id, &head),
        1 => WriteEncoder::delete(&mut out, id, &head),
        _ => {
            let some: Vec<u16> =
                (0..columns.len() as u16).filter(|_| seeded.below(2) == 0).collect();
            taken = some.iter().map(|f| columns[usize::from(*f)].clone()).collect();
            WriteEncoder::put_partial(&mut out, id, &head, &some).unwrap()
        }
    };
    let layout = layout(&taken);
    for _ in 0..seeded.below(20) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        seeded_key(seeded, &KEYS, &mut key);
        let full = seeded.below(2) == 0;
        let values = taken.iter().map(|t| {
            loop {
                let value = seeded.value(t);
                if !(full && value.is_null()) {
                    break value;
                }
            }
        });
        let dense = layout.encode(&values.collect::<Vec<_>>(), &mut value).unwrap();
        let row = WriteRow {
            event_time: seeded.next() as i64,
            created_time: seeded.next() as i64,
            expire_at: if seeded.below(2) == 0 { NO_TIME } else { 7 },
            producer_sequence: seeded.next(),
            key: &key,
            dense,
            value: &value,
        };
        encoder.push(&row).unwrap();
    }
    encoder.finish(MAX).unwrap();
    (out, Given { columns: vec![columns], keys: vec![KEYS.to_vec()] })
}

pub fn seeded_read(seeded: &mut Seeded) -> (Vec<u8>, Given) {
    let head = ReadHead {
        plan_id: seeded.next() as u32,
        flags: ReadFlags::default(),
        read_time: seeded.next() as i64,
        deadline_us: seeded.next() as u32,
    };
    let tokens: Vec<Token> = (0..seeded.below(4)).map(|_| Token::unpack(seeded.next())).collect();
    let keys: Vec<Vec<KeyType>> = (0..seeded.below(4)).map(|n| KEYS[n..].to_vec()).collect();
    let packed: Vec<(u32, Vec<u8>)> = keys
        .iter()
        .map(|types| {
            let (count, mut bytes) = (seeded.below(50), Vec::new());
            (0..count).for_each(|_| seeded_key(seeded, types, &mut bytes));
            (count as u32, bytes)
        })
        .collect();
    let views = packed.iter().map(|(count, bytes)| PackedKeys { count: *count, bytes });
    let mut out = Vec::new();
    encode_read(&mut out, seeded.next(), &head, &tokens, views, MAX).unwrap();
    (out, Given { columns: Vec::new(), keys })
}
