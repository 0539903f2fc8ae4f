//! Schemas as Spark SQL writes them: `user_id BIGINT, page STRING NOT NULL, pos STRUCT<x: DOUBLE>`.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use tidegate_api::{Error, Result};

mod lexer;
mod name;

pub use name::type_name;

use lexer::{Lexer, Token};

/// A schema nested deeper than this is refused, since whatever walks it recurses.
const MAX_DEPTH: usize = 64;

/// The type of every TIMESTAMP: microseconds, UTC.
pub(crate) const UTC: &str = "UTC";

/// Reads a list of columns, with or without `struct<…>` around it.
///
/// Types are Spark's with their synonyms. TIMESTAMP is `Timestamp(Microsecond, "UTC")`, TIMESTAMP_NTZ the same without
/// a zone, STRING, CHAR(n) and VARCHAR(n) are `Utf8` of any length. Names may be quoted with backticks or double
/// quotes; a `COMMENT '…'` is ignored.
///
/// ```
/// use tidegate_formats::ddl::{parse_schema, type_name};
///
/// let schema = parse_schema("user_id BIGINT, `the page` STRING NOT NULL, tags ARRAY<STRING>").unwrap();
/// assert_eq!(type_name(schema.field(2).data_type()), "ARRAY<STRING>");
/// assert!(!schema.field(1).is_nullable());
///
/// let error = parse_schema("user_id BIGINTT").unwrap_err();
/// assert!(error.to_string().contains("position 9"));
/// ```
///
/// # Errors
/// `Config`, with the position, what was found and what was expected.
pub fn parse_schema(text: &str) -> Result<Schema> {
    let mut parser = Parser::new(text)?;
    let wrapped = parser.is_word("STRUCT") && parser.lexer.peek_after()? == Token::Symbol('<');
    let fields = if wrapped {
        parser.advance()?;
        parser.advance()?;
        let fields = parser.fields(0)?;
        parser.symbol('>')?;
        fields
    } else {
        parser.fields(0)?
    };
    parser.end("',' or the end")?;
    Ok(Schema::new(fields))
}

/// Reads one type, such as `ARRAY<STRUCT<x: INT>>`.
///
/// # Errors
/// `Config`, with the position, what was found and what was expected.
pub fn parse_type(text: &str) -> Result<DataType> {
    let mut parser = Parser::new(text)?;
    let data_type = parser.data_type(0)?;
    parser.end("the end")?;
    Ok(data_type)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Where `token` begins, counted in characters from 1.
    position: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        let mut parser = Self { lexer: Lexer::new(text), token: Token::End, position: 1 };
        parser.advance()?;
        Ok(parser)
    }

    fn advance(&mut self) -> Result<()> {
        (self.token, self.position) = self.lexer.next()?;
        Ok(())
    }

    fn fields(&mut self, depth: usize) -> Result<Fields> {
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let position = self.position;
            let field = self.field(depth)?;
            let name = field.name().to_lowercase();
            if fields.iter().any(|it| it.name().to_lowercase() == name) {
                return Err(wrong(position, &format!("column '{}' is there twice", field.name())));
            }
            fields.push(field);
            if self.token != Token::Symbol(',') {
                return Ok(fields.into());
            }
            self.advance()?;
        }
    }

    /// `name [:] type [NOT NULL] [COMMENT '…']`
    fn field(&mut self, depth: usize) -> Result<Field> {
        let name = match &self.token {
            Token::Word(word) => (*word).to_owned(),
            Token::Name(name) if !name.is_empty() => name.clone(),
            _ => return Err(self.expected("a column name")),
        };
        self.advance()?;
        if self.token == Token::Symbol(':') {
            self.advance()?;
        }
        let data_type = self.data_type(depth)?;
        let mut nullable = true;
        if self.is_word("NOT") {
            self.advance()?;
            self.word("NULL")?;
            nullable = false;
        } else if self.is_word("NULL") {
            self.advance()?;
        }
        if self.is_word("COMMENT") {
            self.advance()?;
            if !matches!(self.token, Token::Text | Token::Name(_)) {
                return Err(self.expected("a text in quotes"));
            }
            self.advance()?;
        }
        Ok(Field::new(name, data_type, nullable))
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType> {
        let Token::Word(word) = self.token else { return Err(self.expected_type()) };
        if depth > MAX_DEPTH {
            return Err(wrong(self.position, &format!("the type is nested deeper than {MAX_DEPTH} levels")));
        }
        let upper = word.to_ascii_uppercase();
        if let Some(data_type) = simple(&upper) {
            self.advance()?;
            return Ok(data_type);
        }
        match upper.as_str() {
            "CHAR" | "CHARACTER" | "VARCHAR" => {
                self.advance()?;
                self.symbol('(')?;
                self.number(1, 2_147_483_647)?;
                self.symbol(')')?;
                Ok(DataType::Utf8)
            }
            "DECIMAL" | "DEC" | "NUMERIC" => {
                self.advance()?;
                self.decimal()
            }
            "ARRAY" => {
                self.advance()?;
                self.symbol('<')?;
                let item = self.data_type(depth + 1)?;
                self.symbol('>')?;
                Ok(DataType::List(Arc::new(Field::new_list_field(item, true))))
            }
            "MAP" => {
                self.advance()?;
                self.symbol('<')?;
                let key = self.data_type(depth + 1)?;
                self.symbol(',')?;
                let value = self.data_type(depth + 1)?;
                self.symbol('>')?;
                Ok(map(key, value))
            }
            "STRUCT" => {
                self.advance()?;
                self.symbol('<')?;
                let empty = self.token == Token::Symbol('>');
                let fields = if empty { Fields::empty() } else { self.fields(depth + 1)? };
                self.symbol('>')?;
                Ok(DataType::Struct(fields))
            }
            _ => Err(self.expected_type()),
        }
    }

    fn decimal(&mut self) -> Result<DataType> {
        if self.token != Token::Symbol('(') {
            return Ok(DataType::Decimal128(10, 0));
        }
        self.advance()?;
        let precision = self.number(1, 38)?;
        let mut scale = 0;
        if self.token == Token::Symbol(',') {
            self.advance()?;
            scale = self.number(0, precision)?;
        }
        self.symbol(')')?;
        Ok(DataType::Decimal128(u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0)))
    }

    fn number(&mut self, min: u32, max: u32) -> Result<u32> {
        let found = match self.token {
            Token::Word(word) => word.parse().ok().filter(|it| (min..=max).contains(it)),
            _ => None,
        };
        let number = found.ok_or_else(|| self.expected(&format!("a number from {min} to {max}")))?;
        self.advance()?;
        Ok(number)
    }

    fn is_word(&self, expected: &str) -> bool {
        matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(expected))
    }

    fn word(&mut self, expected: &str) -> Result<()> {
        if self.is_word(expected) { self.advance() } else { Err(self.expected(expected)) }
    }

    fn symbol(&mut self, expected: char) -> Result<()> {
        if self.token == Token::Symbol(expected) {
            self.advance()
        } else {
            Err(self.expected(&format!("'{expected}'")))
        }
    }

    fn end(&self, expected: &str) -> Result<()> {
        if self.token == Token::End { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected_type(&self) -> Error {
        self.expected("a type such as BIGINT, STRING, TIMESTAMP, DECIMAL(10,2) or ARRAY<…>")
    }

    fn expected(&self, what: &str) -> Error {
        wrong(self.position, &format!("expected {what}, found {}", self.token))
    }
}

/// A map type with the names that arrow gives to its parts.
fn map(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn simple(upper: &str) -> Option<DataType> {
    Some(match upper {
        "BOOLEAN" => DataType::Boolean,
        "TINYINT" | "BYTE" => DataType::Int8,
        "SMALLINT" | "SHORT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" | "LONG" => DataType::Int64,
        "FLOAT" | "REAL" => DataType::Float32,
        "DOUBLE" => DataType::Float64,
        "STRING" => DataType::Utf8,
        "BINARY" => DataType::Binary,
        "DATE" => DataType::Date32,
        "TIMESTAMP" | "TIMESTAMP_LTZ" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "VOID" => DataType::Null,
        _ => return None,
    })
}

fn wrong(position: usize, what: &str) -> Error {
    Error::config(format!("schema at position {position}: {what}"))
}

#[cfg(test)]
mod tests;
