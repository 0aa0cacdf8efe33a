//! The messages of `feast/serving/ServingService.proto` and `feast/types/Value.proto` of Feast 0.67, as far as they are
//! read and written here: what else a peer sends is skipped, as Protocol Buffers say.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

/// `GetFeastServingInfoRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InfoRequest {}

/// `GetFeastServingInfoResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InfoResponse {
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `FeatureList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureList {
    #[prost(string, repeated, tag = "1")]
    pub val: Vec<String>,
}

/// `GetOnlineFeaturesRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OnlineRequest {
    #[prost(oneof = "Asks", tags = "1, 2")]
    pub asks: Option<Asks>,
    #[prost(btree_map = "string, message", tag = "3")]
    pub entities: BTreeMap<String, RepeatedValue>,
    #[prost(bool, tag = "4")]
    pub full_feature_names: bool,
    #[prost(btree_map = "string, message", tag = "5")]
    pub request_context: BTreeMap<String, RepeatedValue>,
    #[prost(bool, tag = "6")]
    pub include_feature_view_version_metadata: bool,
}

/// What is asked for.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Asks {
    #[prost(string, tag = "1")]
    FeatureService(String),
    #[prost(message, tag = "2")]
    Features(FeatureList),
}

/// `GetOnlineFeaturesResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OnlineResponse {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Metadata>,
    #[prost(message, repeated, tag = "2")]
    pub results: Vec<FeatureVector>,
    #[prost(bool, tag = "3")]
    pub status: bool,
}

/// `GetOnlineFeaturesResponseMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub feature_names: Option<FeatureList>,
    #[prost(message, repeated, tag = "2")]
    pub feature_view_metadata: Vec<ViewMetadata>,
}

/// `FeatureViewMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ViewMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub version: i32,
}

/// `GetOnlineFeaturesResponse.FeatureVector`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureVector {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
    #[prost(enumeration = "FieldStatus", repeated, tag = "2")]
    pub statuses: Vec<i32>,
    #[prost(message, repeated, tag = "3")]
    pub event_timestamps: Vec<Timestamp>,
}

/// `FieldStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(super) enum FieldStatus {
    Invalid = 0,
    Present = 1,
    NullValue = 2,
    NotFound = 3,
    OutsideMaxAge = 4,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `RepeatedValue`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RepeatedValue {
    #[prost(message, repeated, tag = "1")]
    pub val: Vec<Value>,
}

/// `Value`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(
        oneof = "Val",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 32, 33, 36, 38"
    )]
    pub val: Option<Val>,
}

/// The kinds of values that features and join keys have here.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Val {
    #[prost(bytes = "vec", tag = "1")]
    Bytes(Vec<u8>),
    #[prost(string, tag = "2")]
    String(String),
    #[prost(int32, tag = "3")]
    Int32(i32),
    #[prost(int64, tag = "4")]
    Int64(i64),
    #[prost(double, tag = "5")]
    Double(f64),
    #[prost(float, tag = "6")]
    Float(f32),
    #[prost(bool, tag = "7")]
    Bool(bool),
    #[prost(int64, tag = "8")]
    UnixTimestamp(i64),
    #[prost(message, tag = "11")]
    BytesList(BytesList),
    #[prost(message, tag = "12")]
    StringList(StringList),
    #[prost(message, tag = "13")]
    Int32List(Int32List),
    #[prost(message, tag = "14")]
    Int64List(Int64List),
    #[prost(message, tag = "15")]
    DoubleList(DoubleList),
    #[prost(message, tag = "16")]
    FloatList(FloatList),
    #[prost(message, tag = "17")]
    BoolList(BoolList),
    #[prost(message, tag = "18")]
    UnixTimestampList(Int64List),
    #[prost(string, tag = "32")]
    Json(String),
    #[prost(message, tag = "33")]
    JsonList(StringList),
    #[prost(string, tag = "36")]
    Uuid(String),
    #[prost(message, tag = "38")]
    UuidList(StringList),
}

/// `BytesList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BytesList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub val: Vec<Vec<u8>>,
}

/// `StringList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StringList {
    #[prost(string, repeated, tag = "1")]
    pub val: Vec<String>,
}

/// `Int32List`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Int32List {
    #[prost(int32, repeated, tag = "1")]
    pub val: Vec<i32>,
}

/// `Int64List`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    pub val: Vec<i64>,
}

/// `DoubleList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DoubleList {
    #[prost(double, repeated, tag = "1")]
    pub val: Vec<f64>,
}

/// `FloatList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FloatList {
    #[prost(float, repeated, tag = "1")]
    pub val: Vec<f32>,
}

/// `BoolList`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BoolList {
    #[prost(bool, repeated, tag = "1")]
    pub val: Vec<bool>,
}
