//! How fast JSON documents become Arrow columns: our decoder, arrow-json, and two SIMD parsers with plain builders.
//!
//! usage: json-bench [--runs N] [--mb N] [--rows N] [--ours] [CORPUS...]
//!
//! Median of N (7) runs over N (16) MB of documents, N (1024, which suits arrow-json best) at once, all corpora; --ours
//! leaves the others out.
//!
//! Megabytes of documents per second of CPU time of the one thread. What a decoder makes of a corpus is compared with
//! what ours makes, before anything is timed; a difference ends the program with status 1.

mod columns;
mod corpora;
mod decoders;
mod index;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use arrow_array::RecordBatch;
use rustix::time::{ClockId, clock_gettime};

use corpora::{Corpus, Size};
use decoders::{Decode, Rival};

type Failure = Box<dyn Error>;

struct Options {
    runs: usize,
    size: Size,
    decoders: &'static [Rival],
    corpora: Vec<String>,
}

/// What the runs of one decoder over one corpus gave.
enum Outcome {
    /// MB per CPU-second: lowest, median, highest.
    Speed([f64; 3]),
    /// It can't do it.
    Refused,
    /// It makes something else of it.
    Differs,
}

fn main() -> Result<ExitCode, Failure> {
    let options = options()?;
    let Options { runs, size, .. } = &options;
    let (megabytes, rows) = (size.bytes >> 20, size.chunk_rows);
    println!("median of {runs} runs, {megabytes} MB a corpus, {rows} at once; MB of documents per CPU-second");
    let names: Vec<&str> = options.decoders.iter().map(|it| it.name).collect();
    println!("| corpus | bytes a document | {} | ours / arrow-json | spread of ours |", names.join(" | "));
    println!("|---{}|", "|---".repeat(names.len() + 3));
    let mut differs = false;
    for (name, make) in corpora::ALL {
        if !options.corpora.is_empty() && !options.corpora.iter().any(|it| name.starts_with(it.as_str())) {
            continue;
        }
        let corpus = make(options.size);
        let outcomes = measure(&corpus, &options)?;
        differs |= outcomes.iter().any(|it| matches!(it, Outcome::Differs));
        println!("| {name} | {} | {} |", corpus.bytes / corpus.rows, cells(&outcomes));
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        runs: 7,
        size: Size { bytes: 16 << 20, chunk_rows: 1_024 },
        decoders: &decoders::ALL,
        corpora: Vec::new(),
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => options.runs = arguments.next().ok_or("--runs N")?.parse()?,
            "--mb" => options.size.bytes = arguments.next().ok_or("--mb N")?.parse::<usize>()? << 20,
            "--rows" => options.size.chunk_rows = arguments.next().ok_or("--rows N")?.parse()?,
            "--ours" => options.decoders = &decoders::ALL[..1],
            _ => options.corpora.push(argument),
        }
    }
    Ok(options)
}

/// All decoders on one corpus; their runs take turns, so that a slow moment hits all of them.
fn measure(corpus: &Corpus, options: &Options) -> Result<Vec<Outcome>, Failure> {
    let mut decoders: Vec<Box<dyn Decode>> =
        options.decoders.iter().map(|it| (it.open)(corpus.schema.clone())).collect::<Result<_, _>>()?;
    let mut expected: Vec<RecordBatch> = Vec::new();
    let mut outcomes = Vec::new();
    for decoder in &mut decoders {
        let found: Result<Option<Vec<RecordBatch>>, Failure> =
            corpus.chunks.iter().map(|it| decoder.decode(it)).collect();
        outcomes.push(match found {
            Err(_) => Outcome::Refused,
            Ok(Some(found)) if expected.is_empty() => {
                expected = found;
                Outcome::Speed([0.0; 3])
            }
            Ok(Some(found)) if found != expected => Outcome::Differs,
            Ok(_) => Outcome::Speed([0.0; 3]),
        });
    }
    drop(expected);
    let mut seconds = vec![Vec::new(); decoders.len()];
    for _ in 0..options.runs {
        for ((decoder, outcome), seconds) in decoders.iter_mut().zip(&outcomes).zip(&mut seconds) {
            if matches!(outcome, Outcome::Speed(_)) {
                let start = cpu_seconds();
                for chunk in &corpus.chunks {
                    std::hint::black_box(decoder.decode(chunk)?);
                }
                seconds.push(cpu_seconds() - start);
            }
        }
    }
    for (outcome, seconds) in outcomes.iter_mut().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (seconds.first(), seconds.last()) {
            let speed = |it: f64| corpus.bytes as f64 / it / 1e6;
            *outcome = Outcome::Speed([speed(*last), speed(seconds[seconds.len() / 2]), speed(*first)]);
        }
    }
    Ok(outcomes)
}

fn cells(outcomes: &[Outcome]) -> String {
    let mut cells: Vec<String> = outcomes
        .iter()
        .map(|it| match it {
            Outcome::Speed([_, median, _]) => format!("{median:.0}"),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Differs => "DIFFERS".to_owned(),
        })
        .collect();
    let (ratio, spread) = match outcomes {
        [Outcome::Speed(ours), Outcome::Speed(theirs), ..] => (format!("{:.2}", ours[1] / theirs[1]), spread(ours)),
        [Outcome::Speed(ours), ..] => ("-".to_owned(), spread(ours)),
        _ => ("-".to_owned(), "-".to_owned()),
    };
    cells.extend([ratio, spread]);
    cells.join(" | ")
}

fn spread([low, _, high]: &[f64; 3]) -> String {
    format!("{low:.0} to {high:.0}")
}

/// CPU time of this thread so far.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
