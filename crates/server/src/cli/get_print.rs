//! Answers as a table and as JSON.

use serde_json::{Map, Value as Json, json};
use thermae_formats::time::format_timestamp_us;
use thermae_formats::wire::CellStatus;
use thermae_formats::{KeyValue, NO_TIME};

use super::answers::{Answers, Asked, Cell};
use crate::table::Table;

/// The status as the protocol's documents name it.
pub fn status_name(status: CellStatus) -> &'static str {
    match status {
        CellStatus::Present => "PRESENT",
        CellStatus::NullValue => "NULL_VALUE",
        CellStatus::NotFound => "NOT_FOUND",
        CellStatus::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        CellStatus::Error => "ERROR",
        CellStatus::Unavailable => "UNAVAILABLE",
    }
}

/// What a cell shows: the value, or why there is none.
pub fn shown(cell: &Cell) -> String {
    match cell.status {
        CellStatus::Present => cell.value.to_string(),
        status => status_name(status).to_owned(),
    }
}

/// One table: a line for each entity row and view.
pub fn text(asked: &[Asked], answers: &Answers) -> String {
    let mut out = String::new();
    let mut first = 0;
    for (index, one) in asked.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let keys = one.view.join_keys.iter().map(|k| k.name.clone());
        let features = one.features.iter().cloned();
        let mut table = Table::new(keys.chain(features).chain(["event time".to_owned()]));
        let last = first + one.features.len();
        for (row, cells) in &answers.rows {
            let cells = &cells[first..last];
            let keys =
                one.view.join_keys.iter().filter_map(|k| row.get(&k.name)).map(KeyValue::to_string);
            let time = cells.first().map_or(NO_TIME, |cell| cell.event_time);
            let time = if time == NO_TIME { String::new() } else { format_timestamp_us(time) };
            table.row(keys.chain(cells.iter().map(shown)).chain([time]));
        }
        first = last;
        out.push_str(&one.view.name);
        out.push('\n');
        out.push_str(&table.for_stdout());
    }
    out
}

/// The answers as one JSON document: for each entity row its key, and for each view its features.
pub fn json(asked: &[Asked], answers: &Answers) -> Json {
    let results: Vec<Json> = answers
        .rows
        .iter()
        .map(|(row, cells)| {
            let key: Map<String, Json> =
                row.iter().map(|(name, value)| (name.clone(), key_json(value))).collect();
            let mut views = Map::new();
            let mut first = 0;
            for one in asked {
                let mut features = Map::new();
                for (name, cell) in one.features.iter().zip(&cells[first..]) {
                    features.insert(name.clone(), cell_json(cell));
                }
                first += one.features.len();
                views.insert(one.path(), Json::Object(features));
            }
            json!({"key": key, "views": views})
        })
        .collect();
    json!({"read_time": format_timestamp_us(answers.read_time), "results": results})
}

fn key_json(value: &KeyValue) -> Json {
    match value {
        KeyValue::Int(v) => Json::from(*v),
        other => Json::from(other.to_string()),
    }
}

fn cell_json(cell: &Cell) -> Json {
    let time = if cell.event_time == NO_TIME {
        Json::Null
    } else {
        format_timestamp_us(cell.event_time).into()
    };
    json!({"status": status_name(cell.status), "value": cell.value.to_json(), "event_time": time})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar, Value};

    use super::*;

    fn answers() -> (Vec<Asked>, Answers) {
        let key = vec![JoinKey::new("origin", KeyType::String)];
        let features =
            vec![Feature::new("temp", Scalar::Float64), Feature::new("gust", Scalar::Float64)];
        let view = FeatureView::new("nyc", "weather", key, features);
        let asked = vec![Asked {
            view,
            features: vec!["temp".to_owned(), "gust".to_owned()],
            computed: None,
        }];
        let cell = |status, value, event_time| Cell { status, value, event_time };
        let row = |name: &str, cells: Vec<Cell>| {
            ([("origin".to_owned(), KeyValue::from(name))].into_iter().collect(), cells)
        };
        let rows = vec![
            row(
                "JFK",
                vec![
                    cell(CellStatus::Present, Value::Float64(39.5), 1_000_000),
                    cell(CellStatus::NullValue, Value::Null, 1_000_000),
                ],
            ),
            row(
                "XXX",
                vec![
                    cell(CellStatus::NotFound, Value::Null, NO_TIME),
                    cell(CellStatus::NotFound, Value::Null, NO_TIME),
                ],
            ),
        ];
        (asked, Answers { read_time: 2_000_000, rows })
    }

    #[test]
    fn the_table_shows_values_and_why_there_are_none() {
        let (asked, answers) = answers();
        assert_eq!(
            text(&asked, &answers),
            "weather\n\
             origin  temp       gust        event time\n\
             JFK     39.5       NULL_VALUE  1970-01-01T00:00:01Z\n\
             XXX     NOT_FOUND  NOT_FOUND\n"
        );
    }

    #[test]
    fn json_tells_value_status_and_time_of_each() {
        let (asked, answers) = answers();
        let got = json(&asked, &answers);
        assert_eq!(got["read_time"], "1970-01-01T00:00:02Z");
        let temp = &got["results"][0]["views"]["nyc/weather"]["temp"];
        assert_eq!(
            *temp,
            json!({"status": "PRESENT", "value": 39.5, "event_time": "1970-01-01T00:00:01Z"})
        );
        assert_eq!(got["results"][1]["key"]["origin"], "XXX");
        assert_eq!(got["results"][1]["views"]["nyc/weather"]["gust"]["status"], "NOT_FOUND");
    }
}
