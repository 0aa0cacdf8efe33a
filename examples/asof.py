"""A training read beside what DuckDB's ASOF JOIN makes of the same files, row by row; for the examples' `compare.py`."""


def compare(rows, spine, answer, *, key, row_time, spine_time, ttl, own, features, also=()):
    """Prints how many rows differ in any of the columns `own`, of the spine, and `features`, of the newest row of their
    key; `also` are further counts, as (expression, name).

    Of rows of one key and time the last in the file is the newest. A ttl is a condition on what the ASOF JOIN found.
    """
    import duckdb

    db = duckdb.connect()
    db.sql("set timezone = 'UTC'")
    numbered = "select *, file_row_number n from read_parquet('{}', file_row_number = true)"
    newest = f"qualify row_number() over (partition by {key}, {row_time} order by n desc) = 1"
    db.sql(f"create table r as {numbered.format(rows)} {newest}")
    db.sql(f"create table s as {numbered.format(spine)}")
    db.sql(f"create table t as {numbered.format(answer)}")
    known = f"r.{row_time} >= s.{spine_time} - interval {ttl}"
    values = ", ".join(f"case when {known} then r.{name} end {name}" for name in features)
    columns = ", ".join(f"s.{name}" for name in own)
    join = f"s asof left join r on s.{key} = r.{key} and s.{spine_time} >= r.{row_time}"
    db.sql(f"create table d as select s.n, {columns}, {values} from {join}")
    differs = " or ".join(f"t.{name} is distinct from d.{name}" for name in [*own, *features])
    counts = [("count(*)", "rows"), *also, (f"count(*) filter ({differs})", "differing")]
    asked = ", ".join(f'{expression} "{name}"' for expression, name in counts)
    print(db.sql(f"select {asked} from t full join d using (n)"))
