//! The quickstart's reads without a system call, checked against the socket's answers.

use thermae_client::{Client, Mapped, MappedAnswer, ReadOptions, ViewReply};

use thermae_formats::KeyValue;

use super::answers::Asked;
use super::connect::failed;
use super::exit::Failure;
use super::get;
use super::quickstart_time::{Latency, latency, push_keys, time};

/// Times mapped reads of `count` keys.
pub fn mapped(
    unix: &Client,
    asked: &[Asked],
    count: usize,
    options: &ReadOptions,
) -> Result<Latency, Failure> {
    let plan = get::prepare(unix, asked)?;
    let mut mapped = Mapped::open(unix, "nyc").map_err(failed)?;
    let mut mapped_plan = mapped.plan(&plan).map_err(failed)?;
    let mut packed = plan.keys(0).map_err(failed)?;
    push_keys(count, |tail_number| packed.push(&[KeyValue::from(tail_number)]).map_err(failed))?;
    let mut answer = MappedAnswer::new();
    let times = time(|| {
        mapped.get_many(&mut mapped_plan, 0, &packed, options, &mut answer).map_err(failed)
    })?;
    // Sub-microsecond reads that answered something else would be worth nothing.
    let over_socket = unix.read(&plan, &[&packed], options).map_err(failed)?;
    let (Some(expected), Some(found)) = (over_socket.view(0), answer.view()) else {
        return Err(Failure::Failed("an answer lacks its view".to_owned()));
    };
    for row in 0..count {
        for column in 0..asked[0].features.len() {
            let value = |view: &ViewReply<'_>| {
                view.column(column).and_then(|c| c.value(row).map(<[u8]>::to_vec))
            };
            let same = expected.cell(row, column) == found.cell(row, column);
            if !same || value(&expected) != value(&found) {
                return Err(Failure::Failed(format!(
                    "the mapped read of row {row}, column {column} differs from the socket's"
                )));
            }
        }
    }
    // Keys that were asked of the server after all are no mapped reads.
    let way = if mapped.stats().misses == 0 { "mapped memory" } else { "socket (not mapped)" };
    Ok(latency(way, count, times))
}
