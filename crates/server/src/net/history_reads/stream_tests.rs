#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::writer::StreamWriter;

use super::*;

/// A column of every kind that is taken, nulls in each.
fn batch(rows: i64) -> RecordBatch {
    let ids: Int64Array = (0..rows).map(|row| (row % 3 != 0).then_some(row)).collect();
    let flags: BooleanArray = (0..rows).map(|row| (row % 5 != 0).then_some(row % 2 == 0)).collect();
    let floats: Float64Array = (0..rows).map(|row| (row % 4 != 0).then_some(row as f64)).collect();
    let texts: StringArray =
        (0..rows).map(|row| (row % 7 != 0).then(|| "x".repeat(row as usize % 9))).collect();
    let large: LargeStringArray = (0..rows).map(|row| Some(format!("é{row}"))).collect();
    let bytes =
        BinaryArray::from_iter((0..rows).map(|row| Some(vec![row as u8; row as usize % 4])));
    let uuids = (0..rows).map(|row| (row % 2 == 0).then_some([row as u8; 16]));
    let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap();
    let times = TimestampMicrosecondArray::from_iter_values(0..rows).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 8] = [
        ("id", Arc::new(ids)),
        ("flag", Arc::new(flags)),
        ("float", Arc::new(floats)),
        ("text", Arc::new(texts)),
        ("large", Arc::new(large)),
        ("bytes", Arc::new(bytes)),
        ("uuid", Arc::new(uuids)),
        ("at", Arc::new(times)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<RecordBatch>, StreamError> {
    StreamReader::new(bytes)?.collect()
}

#[test]
fn what_arrow_writes_is_read_back_slices_and_empty_batches_too() {
    let whole = batch(50);
    let batches = [whole.clone(), whole.slice(3, 17), whole.slice(0, 0), batch(1)];
    assert_eq!(read(&stream(&batches)).unwrap(), batches);
    assert_eq!(read(&stream(&[batch(0)])).unwrap(), [batch(0)]);
}

#[test]
fn any_byte_changed_and_any_part_left_out_is_refused_or_read_never_more() {
    let bytes = stream(&[batch(20), batch(3)]);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    for at in 0..bytes.len() {
        for change in [1, 0x40, 0x80, 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            for batch in read(&bytes).into_iter().flatten() {
                // Every value is there to be read.
                assert!(format!("{batch:?}").len() > 10);
            }
        }
    }
}

#[test]
fn what_is_not_taken_is_refused_by_name() {
    let dictionary = {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        ["a", "b"].into_iter().for_each(|text| builder.append_value(text));
        Arc::new(builder.finish()) as ArrayRef
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let nulls = arrow_array::NullArray::new(1);
    let others: [ArrayRef; 3] = [dictionary, Arc::new(list), Arc::new(nulls)];
    for array in others {
        let batch = RecordBatch::try_from_iter([("odd", array)]).unwrap();
        let error = read(&stream(&[batch])).unwrap_err().to_string();
        assert!(error.contains("\"odd\"") && error.contains("not taken"), "{error}");
    }
    let large = StringArray::from_iter_values(["x".repeat(BATCH_MAX_BYTES)]);
    let large = RecordBatch::try_from_iter([("large", Arc::new(large) as ArrayRef)]).unwrap();
    let error = read(&stream(&[large])).unwrap_err().to_string();
    assert!(error.contains("message 2") && error.contains("at most"), "{error}");
    for (bytes, words) in [
        (&b""[..], "ends"),
        (b"PAR1PAR1", "does not begin"),
        (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "at most"),
        (b"\xFF\xFF\xFF\xFF\0\0\0\0", "ends"),
    ] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
