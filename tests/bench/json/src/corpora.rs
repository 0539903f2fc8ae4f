//! Made-up documents, the same ones each time.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::BinaryArray;
use arrow_schema::SchemaRef;
use fastrand::Rng;
use tidegate_formats::ddl::parse_schema;

const SEED: u64 = 1;
/// One bad document in so many.
const BAD: u32 = 100;

/// How much of a corpus there is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    /// Documents that are decoded at once.
    pub(crate) chunk_rows: usize,
}

/// Documents, and the columns wanted of them.
pub(crate) struct Corpus {
    pub(crate) schema: SchemaRef,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

pub(crate) struct Chunk {
    pub(crate) documents: BinaryArray,
    /// The same, a line each.
    pub(crate) lines: Vec<u8>,
}

type Make = fn(Size) -> Corpus;

pub(crate) const ALL: [(&str, Make); 10] = [
    ("click, 3 of 7 fields", |size| corpus(CLICK_USED, size, click)),
    ("click, all fields", |size| corpus(CLICK, size, click)),
    ("dirty: click, 3 of 7, 1 % bad", |size| corpus(CLICK_USED, size, dirty)),
    ("dirty: click, all, 1 % bad", |size| corpus(CLICK, size, dirty)),
    ("narrow", |size| corpus("id BIGINT, value DOUBLE", size, narrow)),
    ("wide, 5 of 100 fields", |size| corpus(&wide_schema(|it| it % 20 == 3), size, wide)),
    ("wide, all fields", |size| corpus(&wide_schema(|_| true), size, wide)),
    ("nested, 2 of 5 fields", |size| corpus("id BIGINT, user STRUCT<name: STRING>", size, nested)),
    ("nested, all fields", |size| corpus(NESTED, size, nested)),
    ("texts of 400 bytes", |size| corpus("id BIGINT, body STRING", size, texts)),
];

const CLICK_USED: &str = "user_id BIGINT, page STRING, ts TIMESTAMP";
const CLICK: &str =
    "event_id STRING, user_id BIGINT, page STRING, action STRING, amount DOUBLE, ts TIMESTAMP, agent STRING";
const NESTED: &str = "id BIGINT, user STRUCT<id: BIGINT, name: STRING, address: STRUCT<city: STRING, zip: STRING>>, \
    items ARRAY<STRUCT<sku: STRING, quantity: BIGINT, price: DOUBLE>>, tags ARRAY<STRING>, scores ARRAY<DOUBLE>";
const WIDE_TYPES: [&str; 5] = ["BIGINT", "STRING", "DOUBLE", "TIMESTAMP", "BOOLEAN"];
const CITIES: [&str; 4] = ["Zürich", "Lyon", "New York", "Oslo"];

fn corpus(ddl: &str, size: Size, write: impl Fn(&mut String, u64, &mut Rng)) -> Corpus {
    let schema = Arc::new(parse_schema(ddl).expect("a schema"));
    let mut rng = Rng::with_seed(SEED);
    let mut corpus = Corpus { schema, chunks: Vec::new(), rows: 0, bytes: 0 };
    let mut document = String::new();
    while corpus.bytes < size.bytes {
        let mut documents = Vec::with_capacity(size.chunk_rows);
        for _ in 0..size.chunk_rows {
            document.clear();
            write(&mut document, corpus.rows as u64, &mut rng);
            corpus.rows += 1;
            corpus.bytes += document.len();
            documents.push(document.clone());
        }
        let lines = documents.iter().flat_map(|it| [it.as_bytes(), b"\n"]).collect::<Vec<_>>().concat();
        corpus.chunks.push(Chunk { documents: BinaryArray::from_iter_values(&documents), lines });
    }
    corpus
}

/// As `examples/clicks/generate.py` makes them.
fn click(out: &mut String, number: u64, rng: &mut Rng) {
    let pages = ["/home", "/search", "/product", "/cart", "/pay"];
    let actions = ["view", "view", "view", "view", "click", "buy"];
    let agents =
        ["Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)", "curl/8.5.0", "Mozilla/5.0 (Windows NT 10.0)"];
    let user = rng.u32(..10_526);
    let user = if user < 10_000 { user.to_string() } else { "null".to_owned() };
    let page = pages[rng.usize(..5).min(rng.usize(..5))];
    let (action, agent) = (actions[rng.usize(..6)], agents[rng.usize(..4)]);
    let amount = f64::from(rng.u32(..10_000)) / 100.0;
    let _ = write!(out, r#"{{"event_id":"e{number}","user_id":{user},"page":"{page}","action":"{action}","#);
    let _ = write!(out, r#""amount":{amount},"ts":""#);
    time(out, number * 50 + rng.u64(..5_000));
    let _ = write!(out, r#"","agent":"{agent}"}}"#);
}

/// As `generate.py --dirty`: half a document, or a field of the wrong type.
fn dirty(out: &mut String, number: u64, rng: &mut Rng) {
    click(out, number, rng);
    if rng.u32(..BAD) == 0 {
        if rng.bool() {
            out.truncate(out.len() / 2);
        } else {
            *out = out.replace(r#""user_id":"#, r#""user_id":"none","was":"#);
        }
    }
}

fn narrow(out: &mut String, number: u64, rng: &mut Rng) {
    let _ = write!(out, r#"{{"id":{number},"value":{}}}"#, f64::from(rng.u32(..1_000_000)) / 1_000.0);
}

fn wide_schema(used: impl Fn(usize) -> bool) -> String {
    let fields = (0..100).filter(|it| used(*it));
    fields.map(|it| format!("field_{it:02} {}", WIDE_TYPES[it % 5])).collect::<Vec<_>>().join(", ")
}

fn wide(out: &mut String, _: u64, rng: &mut Rng) {
    for field in 0..100 {
        let _ = write!(out, "{}\"field_{field:02}\":", if field == 0 { '{' } else { ',' });
        let _ = match field % 5 {
            _ if rng.u32(..20) == 0 => write!(out, "null"),
            0 => write!(out, "{}", rng.i64(-1_000_000..1_000_000_000)),
            1 => write!(out, "\"value {}\"", rng.u32(..)),
            2 => write!(out, "{}", rng.f64() * 1_000.0),
            3 => {
                out.push('"');
                time(out, rng.u64(..100_000_000));
                write!(out, "\"")
            }
            _ => write!(out, "{}", rng.bool()),
        };
    }
    out.push('}');
}

fn nested(out: &mut String, number: u64, rng: &mut Rng) {
    let (user, city, zip) = (rng.u32(..10_000), CITIES[rng.usize(..4)], rng.u32(10_000..99_999));
    let _ = write!(out, r#"{{"id":{number},"user":{{"id":{user},"name":"user {user}","address":"#);
    let _ = write!(out, r#"{{"city":"{city}","zip":"{zip}"}}}},"items":["#);
    list(out, rng.u32(..6), |out| {
        let (sku, quantity, price) = (rng.u32(..100_000), rng.u32(1..10), f64::from(rng.u32(..10_000)) / 100.0);
        let _ = write!(out, r#"{{"sku":"S-{sku}","quantity":{quantity},"price":{price}}}"#);
    });
    out.push_str(r#"],"tags":["#);
    list(out, rng.u32(..4), |out| {
        let _ = write!(out, "\"tag-{}\"", rng.u32(..50));
    });
    out.push_str(r#"],"scores":["#);
    list(out, rng.u32(..8), |out| {
        let _ = write!(out, "{}", rng.f64());
    });
    out.push_str("]}");
}

fn texts(out: &mut String, number: u64, rng: &mut Rng) {
    let words = ["stream", "window", "käse", "the", "of", "late", r#"\"quoted\""#, r"line\n", "partition", "and"];
    let _ = write!(out, r#"{{"id":{number}"#);
    for name in ["title", "body", "footer"] {
        let _ = write!(out, r#","{name}":""#);
        let end = out.len() + if name == "body" { 400 } else { 60 };
        while out.len() < end {
            // One word in ten that holds something other than ASCII.
            let word = words[if rng.u32(..10) == 0 { rng.usize(..10) } else { [0, 1, 3, 4, 5, 8, 9][rng.usize(..7)] }];
            let _ = write!(out, "{word} ");
        }
        out.push('"');
    }
    out.push('}');
}

fn list(out: &mut String, count: u32, mut item: impl FnMut(&mut String)) {
    for place in 0..count {
        if place > 0 {
            out.push(',');
        }
        item(out);
    }
}

/// A time `ms` milliseconds into March 2026, to the millisecond; months do not end here.
fn time(out: &mut String, ms: u64) {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (day, hour, minute) = (1 + seconds / 86_400 % 28, seconds / 3_600 % 24, seconds / 60 % 60);
    let _ = write!(out, "2026-03-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}Z", seconds % 60);
}
