//! `split(text, regex[, limit])` as Java splits, `concat` that is null if an argument is, and `lossy_string(bytes)`, which
//! casts of BINARY to STRING become.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use arrow_select::nullif::nullif;
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::functions::regex::compile_regex;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use tidegate_formats::binary_to_string;

use super::{constant_int, constant_text};
use crate::error::external;

#[cfg(test)]
mod tests;

const REGEX_SIGNS: &str = "\\.^$|?*+()[]{}";

/// `split(text, regex[, limit])`.
pub(crate) fn split() -> Arc<ScalarUDF> {
    let two = TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8]);
    let three = TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]);
    let signature = Signature::one_of(vec![two, three], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Split { signature }))
}

/// `concat(a, b, …)`: null if one of them is (Spark: `Concat`); DataFusion's leaves nulls out.
pub(crate) fn concat() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Concat { texts: datafusion::functions::string::concat() }))
}

/// `lossy_string(bytes)`: what is no UTF-8 becomes U+FFFD.
pub(crate) fn lossy_string() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![DataType::Binary], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(LossyString { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Split {
    signature: Signature,
}

impl ScalarUDFImpl for Split {
    fn name(&self) -> &str {
        "split"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let regex = constant_text(args.args.get(1), "split: the pattern")?;
        let limit = args.args.get(2).map(|it| constant_int(Some(it), "split: the limit")).transpose()?;
        let Some(texts) = args.args.first() else { return plan_err!("split: expected a text and a pattern") };
        let texts = texts.to_array(args.number_rows)?;
        let texts: &StringArray = texts.as_string();
        let splitter = splitter(regex, limit.and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0))?;
        let mut lists = ListBuilder::new(StringBuilder::with_capacity(texts.len() * 4, texts.value_data().len()));
        for text in texts {
            if let Some(text) = text {
                splitter(text, lists.values());
            }
            lists.append(text.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

type Splitter = Box<dyn Fn(&str, &mut StringBuilder)>;

/// A pattern without signs of a regular expression needs none.
fn splitter(regex: &str, limit: Option<usize>) -> Result<Splitter, DataFusionError> {
    let most = limit.unwrap_or(usize::MAX);
    if regex.is_empty() {
        return Ok(Box::new(move |text, out| each_letter(text, most, out)));
    }
    if !regex.contains(|sign| REGEX_SIGNS.contains(sign)) {
        let pattern = regex.to_owned();
        return Ok(Box::new(move |text, out| {
            text.splitn(most, pattern.as_str()).for_each(|piece| out.append_value(piece));
        }));
    }
    let compiled = match compile_regex(regex, None) {
        Ok(compiled) => compiled,
        Err(error) => return plan_err!("split: pattern '{regex}': {error}"),
    };
    Ok(Box::new(move |text, out| {
        let (mut start, mut pieces) = (0, 1);
        for found in compiled.find_iter(text) {
            // Java: no empty piece before a match of nothing at the very start.
            if pieces == most || (found.end() == 0) {
                continue;
            }
            out.append_value(text.get(start..found.start()).unwrap_or_default());
            (start, pieces) = (found.end(), pieces + 1);
        }
        out.append_value(text.get(start..).unwrap_or_default());
    }))
}

/// Spark: an empty pattern takes a text apart into its letters, without an empty piece at the end.
fn each_letter(text: &str, most: usize, out: &mut StringBuilder) {
    let mut letters = text.char_indices().skip(1).map(|(at, _)| at);
    let mut start = 0;
    for end in letters.by_ref().take(most.saturating_sub(1)) {
        out.append_value(text.get(start..end).unwrap_or_default());
        start = end;
    }
    let end = if most == usize::MAX { text.len() } else { letters.next().unwrap_or(text.len()) };
    out.append_value(text.get(start..end).unwrap_or_default());
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LossyString {
    signature: Signature,
}

impl ScalarUDFImpl for LossyString {
    fn name(&self) -> &str {
        "lossy_string"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(bytes) = args.args.first() else { return plan_err!("lossy_string: expected an argument") };
        let bytes = bytes.to_array(args.number_rows)?;
        let text = binary_to_string(bytes.as_binary()).map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(text)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    /// DataFusion's.
    texts: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        "concat"
    }

    fn signature(&self) -> &Signature {
        self.texts.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        self.texts.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        self.texts.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        if args.args.iter().any(|it| matches!(it, ColumnarValue::Scalar(value) if value.is_null())) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
        }
        let nulls = args.args.iter().filter_map(|it| match it {
            ColumnarValue::Array(array) => array.logical_nulls(),
            ColumnarValue::Scalar(_) => None,
        });
        let nulls = nulls.reduce(|a, b| NullBuffer::union(Some(&a), Some(&b)).unwrap_or(a));
        let joined = self.texts.invoke_with_args(args)?;
        match (joined, nulls) {
            (ColumnarValue::Array(joined), Some(nulls)) => {
                Ok(ColumnarValue::Array(nullif(&joined, &BooleanArray::new(!nulls.inner(), None))?))
            }
            (joined, _) => Ok(joined),
        }
    }
}
