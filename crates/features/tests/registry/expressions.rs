//! What each operation gives, what is refused, and that hostile texts end in errors.

use thermae_features::expression::{Column, Expression, MAX_DEPTH, MAX_TOKENS};
use thermae_formats::{Scalar, Value, ValueType};

/// 2023-11-14 22:13:20, a Tuesday.
const AS_OF: i64 = 1_700_000_000_000_000;

fn columns() -> Vec<Column> {
    let columns = [
        ("b", Scalar::Bool),
        ("i", Scalar::Int32),
        ("l", Scalar::Int64),
        ("f", Scalar::Float32),
        ("d", Scalar::Float64),
        ("s", Scalar::String),
        ("t", Scalar::Timestamp),
        ("n", Scalar::Int64),
        ("u", Scalar::Uuid),
    ];
    columns.map(|(name, scalar)| Column::new(name, scalar)).to_vec()
}

fn row() -> Vec<Value> {
    vec![
        Value::Bool(true),
        Value::Int32(-7),
        Value::Int64(40),
        Value::Float32(0.1),
        Value::Float64(2.5),
        Value::from("Ab"),
        Value::Timestamp(AS_OF - 3_600_000_000),
        Value::Null,
        Value::Uuid([1; 16]),
    ]
}

fn compile(text: &str, scalar: Scalar) -> Result<Expression, String> {
    Expression::compile(text, &columns(), &scalar.into()).map_err(|e| e.to_string())
}

fn give(text: &str, scalar: Scalar) -> Value {
    let expression = compile(text, scalar).unwrap_or_else(|e| panic!("{text}: {e}"));
    let row = row();
    expression.evaluate(&row.iter().collect::<Vec<_>>(), AS_OF)
}

#[test]
fn numbers_calculate_in_int64_and_float64() {
    let int = |text| give(text, Scalar::Int64);
    let float = |text| give(text, Scalar::Float64);
    assert_eq!(int("i + l * 2"), Value::Int64(73));
    assert_eq!(int("-i"), Value::Int64(7));
    assert_eq!(int("l % i"), Value::Int64(5));
    assert_eq!(int("i % l"), Value::Int64(-7));
    assert_eq!(int("div(l, i)"), Value::Int64(-5));
    assert_eq!(float("l / i"), Value::Float64(40.0 / -7.0));
    assert_eq!(float("f"), Value::Float64(f64::from(0.1_f32)));
    assert_eq!(float("f * 10"), Value::Float64(f64::from(0.1_f32) * 10.0));
    assert_eq!(give("cast(f * 10 as float32)", Scalar::Float32), {
        Value::Float32((f64::from(0.1_f32) * 10.0) as f32)
    });
    assert_eq!(give("f", Scalar::Float32), Value::Float32(0.1));
    assert_eq!(give("i", Scalar::Int64), Value::Int64(-7));
    assert_eq!(int("as_of() - t"), Value::Int64(3_600_000_000));
    // 2^53 + 1 is no float64, and stays an integer.
    assert_eq!(int("9007199254740993 + 0"), Value::Int64(9_007_199_254_740_993));
}

#[test]
fn what_cannot_be_computed_is_null_and_floats_are_ieee() {
    let int = |text| give(text, Scalar::Int64);
    let bits = |text| match give(text, Scalar::Float64) {
        Value::Float64(v) => v.to_bits(),
        other => panic!("{text}: {other:?}"),
    };
    for text in [
        "9223372036854775807 + 1",
        "-9223372036854775807 - 2",
        "9223372036854775807 * 2",
        "div(l, 0)",
        "l % 0",
        "abs(-9223372036854775807 - 1)",
        "n + 1",
        "cast(1e300 as int64)",
        "cast('x' as int64)",
        "cast(0.0 / 0.0 as int64)",
        "length(null)",
    ] {
        assert_eq!(int(text), Value::Null, "{text}");
    }
    assert_eq!(int("(-9223372036854775807 - 1) % -1"), Value::Int64(0));
    assert_eq!(bits("1.0 / 0"), f64::INFINITY.to_bits());
    assert_eq!(bits("-1 / 0.0"), f64::NEG_INFINITY.to_bits());
    // Every NaN that is computed is the same one.
    assert_eq!(bits("0.0 / 0"), f64::NAN.to_bits());
    assert_eq!(bits("-(0.0 / 0)"), f64::NAN.to_bits());
    assert_eq!(bits("sqrt(-1)"), f64::NAN.to_bits());
    assert_eq!(bits("-0.0 * 1"), (-0.0_f64).to_bits());
    assert_eq!(bits("ln(0)"), f64::NEG_INFINITY.to_bits());
    assert_eq!(int("cast(-2.9 as int64)"), Value::Int64(-2));
    assert_eq!(give("cast(16777217 as float32)", Scalar::Float32), Value::Float32(16_777_216.0));
}

#[test]
fn a_column_passes_with_every_bit() {
    let columns = [Column::new("x", Scalar::Float32), Column::new("y", Scalar::Float64)];
    let odd = (f32::from_bits(0x7FA0_0001), f64::from_bits(0x7FF4_0000_0000_0001));
    let (x, y) = (Value::Float32(odd.0), Value::Float64(odd.1));
    for (text, declared) in
        [("x", Scalar::Float32), ("y", Scalar::Float64), ("(x)", Scalar::Float64)]
    {
        let expression = Expression::compile(text, &columns, &declared.into()).unwrap();
        let given = expression.evaluate(&[&x, &y], 0);
        let own = if text == "y" { &y } else { &x };
        assert_eq!(given, own.clone().widened_to(&declared.into()), "{text}");
    }
}

#[test]
fn truth_has_three_values() {
    let cases: &[(&str, Option<bool>)] = &[
        ("n > 1", None),
        ("n > 1 and false", Some(false)),
        ("n > 1 or true", Some(true)),
        ("n > 1 or false", None),
        ("not (n > 1)", None),
        ("n is null", Some(true)),
        ("n is not null or b", Some(true)),
        ("l in (1, n, 40)", Some(true)),
        ("l in (1, n)", None),
        ("l not in (1, 2)", Some(true)),
        ("l between i and 40", Some(true)),
        ("l not between 41 and n", Some(true)),
        ("0.0 / 0 = 0.0 / 0", Some(false)),
        ("0.0 / 0 <> 1", Some(true)),
        ("is_nan(0.0 / 0)", Some(true)),
        ("0.0 = -0.0", Some(true)),
        ("s = 'Ab' and s < 'B'", Some(true)),
        ("i < 0.5 and l >= 40 and d <= f + 3", Some(true)),
        ("t < as_of() and b = true", Some(true)),
    ];
    for (text, told) in cases {
        let told = told.map_or(Value::Null, Value::Bool);
        assert_eq!(give(text, Scalar::Bool), told, "{text}");
    }
}

#[test]
fn functions_and_cases_give_what_they_say() {
    let int = |text| give(text, Scalar::Int64);
    let float = |text| give(text, Scalar::Float64);
    let text_of = |text| give(text, Scalar::String);
    assert_eq!(int("coalesce(n, i, 5)"), Value::Int64(-7));
    assert_eq!(float("coalesce(n, 0.5)"), Value::Float64(0.5));
    assert_eq!(int("nullif(l, 40)"), Value::Null);
    assert_eq!(int("greatest(l, i, 41)"), Value::Int64(41));
    assert_eq!(int("least(l, n)"), Value::Null);
    assert_eq!(float("least(l, d)"), Value::Float64(2.5));
    assert!(matches!(float("greatest(0.0 / 0, 1e9)"), Value::Float64(v) if v.is_nan()));
    assert_eq!(float("round(d) + floor(-0.5) + ceil(0.5) + abs(-1.5)"), Value::Float64(4.5));
    assert_eq!(
        float("power(2, 10) + exp(0) + ln(1) + log10(1000) + sqrt(9)"),
        Value::Float64(1031.0)
    );
    assert_eq!(int("length(s || 'é') + length('')"), Value::Int64(3));
    assert_eq!(text_of("lower(s) || upper(s)"), Value::from("abAB"));
    assert_eq!(text_of("concat(s, cast(n as string))"), Value::Null);
    assert_eq!(text_of("cast(l as string)"), Value::from("40"));
    assert_eq!(int("case when n > 1 then 1 when b then 2 end"), Value::Int64(2));
    assert_eq!(int("case l when 39 then 1 else i end"), Value::Int64(-7));
    assert_eq!(int("case when false then 1 end"), Value::Null);
    assert_eq!(float("case when b then l else d end"), Value::Float64(40.0));
    assert_eq!(int("hour(as_of()) * 10 + day_of_week(as_of())"), Value::Int64(222));
    assert_eq!(int("day_of_week(cast(-1 as timestamp))"), Value::Int64(3));
    assert_eq!(give("cast(cast(t as int64) as timestamp)", Scalar::Timestamp), row()[6]);
    assert_eq!(int("cast(' 12 ' as int64) + cast(true as int64)"), Value::Int64(13));
}

/// A text, the declared type, words of the reason: each with its place.
const REFUSED: &[(&str, Scalar, &[&str])] = &[
    ("clikcs + 1", Scalar::Int64, &["line 1, column 1", "\"clikcs\"", "there are b, i, l"]),
    ("1 +\n  x", Scalar::Int64, &["line 2, column 3", "\"x\""]),
    ("l + s", Scalar::Int64, &["line 1, column 5", "s is string", "a number"]),
    ("l / 2", Scalar::Int64, &["gives float64", "declared is int64", "cast"]),
    ("l * 2", Scalar::Int32, &["gives int64", "declared is int32"]),
    ("d", Scalar::Float32, &["gives float64", "float32"]),
    ("l = s", Scalar::Bool, &["column 5", "int64 and string", "cast one"]),
    ("b and l", Scalar::Bool, &["column 7", "a bool"]),
    ("not l", Scalar::Bool, &["a bool"]),
    ("case when b then 1 else 'x' end", Scalar::Int64, &["column 25", "int64 and string"]),
    ("coalesce(l, b)", Scalar::Int64, &["column 13", "int64 and bool"]),
    ("sqrt(s)", Scalar::Float64, &["column 6", "a number"]),
    ("sqrt(1, 2)", Scalar::Float64, &["takes 1 arguments, not 2"]),
    ("sqrt()", Scalar::Float64, &["takes 1 arguments, not 0"]),
    ("now()", Scalar::Timestamp, &["no function \"now\"", "as_of, abs"]),
    ("u", Scalar::String, &["column \"u\" is uuid", "expressions know"]),
    ("v.l", Scalar::Int64, &["without their view"]),
    ("l + ", Scalar::Int64, &["an expression"]),
    ("l l", Scalar::Int64, &["column 3", "behind the end"]),
    ("l; drop table x", Scalar::Int64, &["\";\"", "behind the end"]),
    ("null", Scalar::Int64, &["always null"]),
    ("(select 1)", Scalar::Int64, &["not among what expressions know"]),
    ("exists (select 1)", Scalar::Bool, &["not among"]),
    ("l in (select 1)", Scalar::Bool, &["not among"]),
    ("sum(l) over ()", Scalar::Int64, &["in a way that is not known"]),
    ("count(*)", Scalar::Int64, &["in a way that is not known"]),
    ("l ^ 2", Scalar::Int64, &["operator ^"]),
    ("99999999999999999999", Scalar::Int64, &["exceeds an int64"]),
    ("'a' || 1", Scalar::String, &["a string"]),
    ("cast(s as uuid)", Scalar::String, &["nothing is cast to uuid"]),
    ("cast(b as float64)", Scalar::Float64, &["bool is not cast to float64"]),
    ("cast(d as string)", Scalar::String, &["float64 is not cast to string"]),
    ("x'ff'", Scalar::String, &["no literal"]),
    ("least(s, 'a')", Scalar::String, &["numbers or timestamps"]),
    ("", Scalar::Int64, &["expression"]),
];

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    for (text, scalar, words) in REFUSED {
        let error = compile(text, *scalar).expect_err(text);
        for word in *words {
            assert!(error.contains(word), "{text}: {word:?} is not in: {error}");
        }
    }
    let list = Expression::compile("l", &columns(), &ValueType::List(Scalar::Int64)).unwrap_err();
    assert!(list.to_string().contains("gives no list<int64>"), "{list}");
}

#[test]
fn hostile_texts_are_refused_and_nothing_overflows() {
    let deep = |text: &str, count: usize| text.repeat(count);
    let hostile = [
        deep("(", 500) + "l" + &deep(")", 500),
        deep("-", 900) + "l",
        deep("not ", 900) + "b",
        deep("abs(", 400) + "l" + &deep(")", 400),
        "l".to_owned() + &deep(" + l", 450),
        "l".to_owned() + &deep(" + l", 4_000),
        deep("case when b then ", 200) + "1" + &deep(" end", 200),
        "'".to_owned() + &deep("x", 20_000),
        deep("[", 400),
        deep("l in (", 300),
        deep("cast(", 300) + "l" + &deep(" as int64)", 300),
        "l".to_owned() + &deep(" and l", 499),
        "\u{0}".to_owned(),
        "/* ".to_owned() + &deep("/*", 300),
        deep("interval ", 300),
        deep("array<", 300),
    ];
    for text in hostile {
        let start: String = text.chars().take(30).collect();
        assert!(compile(&text, Scalar::Int64).is_err(), "{start}...");
    }
    // What is as deep as may be is read and computed.
    let sum = "l".to_owned() + &deep(" + l", MAX_DEPTH - 2);
    assert_eq!(give(&sum, Scalar::Int64), Value::Int64(40 * (MAX_DEPTH as i64 - 1)));
    let wide = format!("coalesce({})", vec!["n"; MAX_TOKENS / 2 - 5].join(", "));
    assert_eq!(give(&wide, Scalar::Int64), Value::Null);
}

#[test]
fn an_expression_knows_what_it_reads() {
    let expression = compile("d + l * d + coalesce(n, 1)", Scalar::Float64).unwrap();
    assert_eq!(expression.inputs(), [2, 4, 7]);
}
