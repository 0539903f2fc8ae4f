//! `transform_with_state`: values, lists and maps by key; what a restart keeps; what is refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use tidegate_api::OutputMode;
use tidegate_builder::{
    Error, GroupKey, ListState, MapState, Result, StateHandle, StateVariables, StatefulProcessor, Stream, TimeMode,
    ValueState, window,
};

use super::{Program, ended, writer};

pub(super) const CLICKS: &str = "ts TIMESTAMP, page STRING, n BIGINT";

pub(super) fn clicks(program: &Program) -> Stream {
    program.stream("clicks", CLICKS)
}

/// A row `page, n` of text and number.
pub(super) fn row(page: &str, n: i64) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] =
        [("page", Arc::new(StringArray::from(vec![page]))), ("n", Arc::new(Int64Array::from(vec![n])))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// The column `n` of rows.
pub(super) fn numbers(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// How many rows each page has had (Spark's running count).
#[derive(Clone, Default)]
struct Count {
    count: ValueState<i64>,
    /// Not in the state: gone with each epoch.
    calls: i64,
}

impl StatefulProcessor for Count {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.count = variables.get_value_state("count", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        self.calls += 1;
        assert!(self.calls <= 2, "a copy of the processor runs in each epoch, and each key is one call");
        assert_eq!(self.count.exists(handle)?, self.count.get(handle)?.is_some());
        let count = self.count.get(handle)?.unwrap_or_default() + i64::try_from(rows.num_rows()).unwrap();
        self.count.update(handle, &count)?;
        assert_eq!(self.count.get(handle)?, Some(count));
        Ok(vec![row(&key.get::<String>(0)?, count)])
    }
}

fn counted(program: &Program) -> Stream {
    let groups = clicks(program).group_by(["upper(page) AS page"]);
    groups.transform_with_state(Count::default(), "page STRING, n BIGINT", TimeMode::None).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_in_a_value_goes_on_after_a_restart() {
    let mut program = Program::new();
    let runs: [(&[&str], &[&str]); 3] = [
        (
            &[r#"{"page":"a"}"#, r#"{"page":"b"}"#, r#"{"page":"A"}"#],
            &[r#"{"page":"A","n":2}"#, r#"{"page":"B","n":1}"#],
        ),
        (&[r#"{"page":"a"}"#], &[r#"{"page":"A","n":3}"#]),
        (&[r#"{"page":"b"}"#, r#"{"page":"a"}"#], &[r#"{"page":"A","n":4}"#, r#"{"page":"B","n":2}"#]),
    ];
    for mode in [OutputMode::Append, OutputMode::Update] {
        let query = format!("{mode}");
        let mut expected: Vec<String> = Vec::new();
        for (documents, made) in runs {
            program.again();
            program.add(&query, "clicks", CLICKS, documents);
            program.run(&query, &counted(&program), mode).await;
            expected.extend(made.iter().map(|it| (*it).to_owned()));
            expected.sort();
            assert_eq!(program.rows(&query), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_tells_of_the_state() {
    let program = Program::new();
    program.add("q", "clicks", CLICKS, &[r#"{"page":"a"}"#, r#"{"page":"b"}"#, r#"{"page":"a"}"#]);
    let query = ended(writer("q", &counted(&program))).await;
    let operator = query.recent_progress()[0].state_operators[0].clone();
    assert_eq!(operator.operator_name, "transformWithStateExec");
    assert_eq!((operator.num_rows_total, operator.num_rows_updated, operator.num_rows_removed), (2, 2, 0));
    let text = writer("p", &counted(&program)).explain().await.unwrap();
    assert!(text.contains("state 'user-state-0'") && text.contains("transform_with_state by page"), "{text}");
}

/// The last numbers of each page, as text; empties the list at the number 0.
#[derive(Clone, Default)]
struct Last {
    list: ListState<i64>,
}

impl StatefulProcessor for Last {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.list = variables.get_list_state("last", None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let new = numbers(rows);
        if new == [0] {
            self.list.clear(handle)?;
            assert!(!self.list.exists(handle)?);
            return Ok(Vec::new());
        }
        self.list.append_list(handle, &new)?;
        let mut all = self.list.get(handle)?;
        if all.len() > 3 {
            all.drain(..all.len() - 3);
            self.list.put(handle, &all)?;
            assert_eq!(self.list.get(handle)?, all);
        }
        let text: Vec<_> = all.iter().map(ToString::to_string).collect();
        Ok(vec![row(&format!("{}: {}", key.get::<String>(0)?, text.join(" ")), all.len() as i64)])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_keeps_its_order() {
    let mut program = Program::new();
    let epochs: [(&[&str], &str); 5] = [
        (&[r#"{"page":"a","n":5}"#, r#"{"page":"a","n":3}"#], "a: 5 3"),
        (&[r#"{"page":"a","n":9}"#], "a: 5 3 9"),
        (&[r#"{"page":"a","n":1}"#, r#"{"page":"a","n":1}"#], "a: 9 1 1"),
        (&[r#"{"page":"a","n":0}"#], ""),
        (&[r#"{"page":"a","n":7}"#], "a: 7"),
    ];
    for (at, (documents, expected)) in epochs.into_iter().enumerate() {
        let before = program.rows("q");
        program.again();
        program.add("q", "clicks", CLICKS, documents);
        let last = clicks(&program).group_by(["page"]);
        let last = last.transform_with_state(Last::default(), "page STRING, n BIGINT", TimeMode::None).unwrap();
        program.run("q", &last, OutputMode::Append).await;
        let mut new = program.rows("q");
        new.retain(|it| !before.contains(it));
        assert_eq!(new.len(), usize::from(!expected.is_empty()), "{at}");
        assert!(new.iter().all(|it| it.contains(expected)), "{at}: {new:?}");
    }
}

/// Sums of each page by the number's last digit: a map of a list's own type, and a value of rows.
#[derive(Clone, Default)]
struct Digits {
    sums: MapState<i64, (i64, String)>,
    newest: ValueState<RecordBatch>,
}

impl StatefulProcessor for Digits {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        self.sums = variables.get_map_state("sums", None)?;
        let fields = row("", 0).schema().fields().clone();
        self.newest = variables.get_value_state_of("newest", DataType::Struct(fields), None)?;
        Ok(())
    }

    fn handle_input_rows(
        &mut self,
        key: &GroupKey<'_>,
        rows: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        let page: String = key.get(0)?;
        let before = self.newest.get(handle)?.map_or(-1, |it| numbers(&it)[0]);
        for n in numbers(rows) {
            if n < 0 {
                self.sums.remove_key(handle, &-n)?;
                assert!(!self.sums.contains_key(handle, &-n)?);
                continue;
            }
            let (sum, text) = self.sums.get_value(handle, &(n % 10))?.unwrap_or_default();
            self.sums.update_value(handle, &(n % 10), &(sum + n, format!("{text}{n};")))?;
            self.newest.update(handle, &row(&page, n))?;
        }
        let mut entries = self.sums.entries(handle)?;
        entries.sort();
        assert_eq!(self.sums.exists(handle)?, !entries.is_empty());
        let text: Vec<_> = entries.iter().map(|(digit, (sum, text))| format!("{digit}={sum} of {text}")).collect();
        Ok(vec![row(&format!("{page}: {}", text.join(", ")), before)])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_finds_its_keys_again() {
    let mut program = Program::new();
    let epochs: [(&[&str], &str); 4] = [
        (&[r#"{"page":"a","n":11}"#, r#"{"page":"a","n":2}"#], r#"{"page":"a: 1=11 of 11;, 2=2 of 2;","n":-1}"#),
        (&[r#"{"page":"a","n":21}"#], r#"{"page":"a: 1=32 of 11;21;, 2=2 of 2;","n":2}"#),
        (&[r#"{"page":"a","n":-1}"#, r#"{"page":"a","n":3}"#], r#"{"page":"a: 2=2 of 2;, 3=3 of 3;","n":21}"#),
        (&[r#"{"page":"a","n":1}"#], r#"{"page":"a: 1=1 of 1;, 2=2 of 2;, 3=3 of 3;","n":3}"#),
    ];
    let mut expected = Vec::new();
    for (documents, made) in epochs {
        program.again();
        program.add("q", "clicks", CLICKS, documents);
        let sums = clicks(&program).group_by(["page"]);
        let sums = sums.transform_with_state(Digits::default(), "page STRING, n BIGINT", TimeMode::None).unwrap();
        program.run("q", &sums, OutputMode::Append).await;
        expected.push(made.to_owned());
        expected.sort();
        assert_eq!(program.rows("q"), expected);
    }
}

/// Does as the function says.
#[derive(Clone)]
struct Does(fn(&mut StateHandle<'_>) -> Result<Vec<RecordBatch>>);

impl StatefulProcessor for Does {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        variables.get_value_state::<i64>("v", None).map(|_| ())
    }

    fn handle_input_rows(
        &mut self,
        _: &GroupKey<'_>,
        _: &RecordBatch,
        handle: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        (self.0)(handle)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_in_the_code_ends_the_query_with_its_words() {
    let program = Program::new();
    let cases: [(Does, &str); 4] = [
        (Does(|_| Err(Error::data("no such page"))), "epoch 0: transform_with_state: handle_input_rows: no such page"),
        (
            Does(|_| Ok(vec![row("a", 1).project(&[1]).unwrap()])),
            "the rows that it returned have the columns (n Int64), declared are (page Utf8, n Int64)",
        ),
        (Does(|it| it.register_timer(5).map(|()| Vec::new())), "register_timer: the time mode has no timers"),
        (
            Does(|it| ValueState::<i64>::default().update(it, &1).map(|()| Vec::new())),
            "a state variable is used that init has not declared",
        ),
    ];
    for (at, (does, expected)) in cases.into_iter().enumerate() {
        let query = format!("q{at}");
        program.add(&query, "clicks", CLICKS, &[r#"{"page":"a","n":1}"#]);
        let made = clicks(&program).group_by(["page"]);
        let made = made.transform_with_state(does, "page STRING, n BIGINT", TimeMode::None).unwrap();
        let query = writer(&query, &made).start().await.unwrap();
        let error = query.await_termination().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Declares what the function says.
#[derive(Clone)]
struct Declares(fn(&mut StateVariables) -> Result<()>);

impl StatefulProcessor for Declares {
    fn init(&mut self, variables: &mut StateVariables) -> Result<()> {
        (self.0)(variables)
    }

    fn handle_input_rows(
        &mut self,
        _: &GroupKey<'_>,
        _: &RecordBatch,
        _: &mut StateHandle<'_>,
    ) -> Result<Vec<RecordBatch>> {
        Ok(vec![row("made", 1)])
    }
}

fn declared(program: &Program, declares: Declares, time_mode: TimeMode) -> Stream {
    let groups = clicks(program).with_watermark("ts", "10 seconds").group_by(["page"]);
    groups.transform_with_state(declares, "page STRING, n BIGINT", time_mode).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_other_variables_is_refused() {
    let mut program = Program::new();
    let both = Declares(|it| {
        it.get_value_state::<i64>("count", None)?;
        it.get_list_state::<String>("names", None).map(|_| ())
    });
    program.add("q", "clicks", CLICKS, &[r#"{"page":"a"}"#]);
    program.run("q", &declared(&program, both, TimeMode::None), OutputMode::Append).await;
    program.again();
    let turned = Declares(|it| {
        it.get_list_state::<String>("names", None)?;
        it.get_value_state::<i64>("count", None).map(|_| ())
    });
    program.add("q", "clicks", CLICKS, &[r#"{"page":"b"}"#]);
    program.run("q", &declared(&program, turned, TimeMode::None), OutputMode::Append).await;
    assert_eq!(program.rows("q").len(), 2, "the order of declarations means nothing");
    program.again();
    let counted = counted(&program);
    program.add("r", "clicks", CLICKS, &[r#"{"page":"a"}"#]);
    program.run("r", &counted, OutputMode::Append).await;
    program.again();
    let other = Declares(|it| it.get_value_state::<String>("count", None).map(|_| ()));
    let groups = clicks(&program).group_by(["upper(page) AS page"]);
    let other = groups.transform_with_state(other, "page STRING, n BIGINT", TimeMode::None).unwrap();
    let query = writer("r", &other).start().await.unwrap();
    let error = query.await_termination().await.unwrap_err().to_string();
    assert!(error.contains("state of operator 'user-state-0'"), "{error}");
    assert!(error.contains("value count: Int64") && error.contains("value count: Utf8"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_is_refused_at_the_start() {
    use std::time::Duration;
    let program = Program::new();
    let nothing = Declares(|_| Ok(()));
    let lasting = Declares(|it| it.get_value_state::<i64>("v", Some(Duration::from_secs(1))).map(|_| ()));
    let twice = Declares(|it| {
        it.get_value_state::<i64>("v", None)?;
        it.get_list_state::<i64>("v", None).map(|_| ())
    });
    let plain = clicks(&program);
    let by_page = plain.group_by(["page"]);
    let none: [&str; 0] = [];
    let made =
        |it: &tidegate_builder::Grouped, mode| it.transform_with_state(nothing.clone(), "page STRING", mode).unwrap();
    let cases = [
        (writer("q", &made(&by_page, TimeMode::EventTime)), "its input has no watermark"),
        (writer("q", &made(&plain.group_by(none), TimeMode::None)), "found no key"),
        (writer("q", &made(&by_page, TimeMode::None)).output_mode(OutputMode::Complete), "complete mode"),
        (
            writer("q", &made(&by_page, TimeMode::None).group_by(["page"]).count()).output_mode(OutputMode::Update),
            "an aggregation above user state is possible in append mode only",
        ),
        (
            writer("q", &declared(&program, lasting.clone(), TimeMode::None)),
            "a lifetime is possible with processing time",
        ),
        (writer("q", &declared(&program, lasting, TimeMode::EventTime)), "a lifetime is possible with processing time"),
        (writer("q", &declared(&program, twice, TimeMode::None)), "init: state variable 'v': the name is taken"),
    ];
    for (writer, expected) in cases {
        let error = writer.start().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = by_page.transform_with_state(nothing, "page STRINGG", TimeMode::None).unwrap_err().to_string();
    assert!(error.starts_with("transform_with_state: "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_keys_too() {
    let program = Program::new();
    let minutes =
        clicks(&program).with_watermark("ts", "1 second").group_by([window("ts", "1 minute"), "n".to_owned()]);
    #[derive(Clone)]
    struct Shows;
    impl StatefulProcessor for Shows {
        fn init(&mut self, _: &mut StateVariables) -> Result<()> {
            Ok(())
        }
        fn handle_input_rows(
            &mut self,
            key: &GroupKey<'_>,
            rows: &RecordBatch,
            _: &mut StateHandle<'_>,
        ) -> Result<Vec<RecordBatch>> {
            let names: Vec<_> = rows.schema().fields().iter().map(|it| it.name().clone()).collect();
            let of_key: Vec<_> = key.row().schema().fields().iter().map(|it| it.name().clone()).collect();
            assert_eq!((names.join(" "), of_key.join(" ")), ("ts page n".to_owned(), "window n".to_owned()));
            assert!(key.get::<i64>(0).is_err() && key.get::<Option<i64>>(1)?.is_none() && key.get::<i64>(1).is_err());
            let start = key.get::<ArrayRef>(0)?;
            let start = start.as_struct().column(0).as_primitive::<arrow_array::types::TimestampMicrosecondType>();
            Ok(vec![row(rows.column(1).as_string::<i32>().value(0), start.value(0) / 1_000_000)])
        }
    }
    let shown = minutes.transform_with_state(Shows, "page STRING, n BIGINT", TimeMode::EventTime).unwrap();
    let rows = [r#"{"ts":61,"page":"a"}"#, r#"{"ts":119,"page":"same"}"#, r#"{"ts":120,"page":"b"}"#];
    program.add("q", "clicks", CLICKS, &rows);
    program.run("q", &shown, OutputMode::Append).await;
    assert_eq!(program.rows("q"), [r#"{"page":"a","n":60}"#, r#"{"page":"b","n":120}"#]);
    // The window that ends at 120 is late: the watermark is 199.
    program.add("q", "clicks", CLICKS, &[r#"{"ts":200,"page":"c"}"#]);
    program.run("q", &shown, OutputMode::Append).await;
    program.add("q", "clicks", CLICKS, &[r#"{"ts":119,"page":"late"}"#, r#"{"ts":181,"page":"d"}"#]);
    program.run("q", &shown, OutputMode::Append).await;
    assert_eq!(program.rows("q").len(), 4);
}
