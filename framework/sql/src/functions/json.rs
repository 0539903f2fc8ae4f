//! `from_json(text, 'ddl')` and `to_json(struct)`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DataFusionError, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tidegate_api::Result;
use tidegate_formats::{ddl, json};

use super::constant_text;
use crate::error::external;

/// `from_json(text or bytes, 'ddl'[, 'mode'])`: permissive unless the mode is FAILFAST.
pub(crate) fn from_json() -> Arc<ScalarUDF> {
    of_type(None)
}

/// A `from_json` that decodes `wanted`, a part of the type that its schema names.
fn of_type(wanted: Option<DataType>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    let name = match &wanted {
        Some(DataType::Struct(fields)) => format!("{FROM_JSON}<{}>", paths(fields).join(", ")),
        _ => FROM_JSON.to_owned(),
    };
    Arc::new(ScalarUDF::new_from_impl(FromJson { name, wanted, signature, spare: Decoders::default() }))
}

/// Whether this is a call of `from_json`.
pub(crate) fn is_from_json(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(it) if it.func.inner().is::<FromJson>())
}

/// The function for a permissive call of `from_json` of which only a part of its type is wanted; none if it is another
/// call or all of it is wanted.
pub(crate) fn narrowed(
    call: &ScalarFunction,
    part: impl FnOnce(&DataType) -> DataType,
) -> Result<Option<Arc<ScalarUDF>>, DataFusionError> {
    let Some(function) = call.func.inner().downcast_ref::<FromJson>() else { return Ok(None) };
    let (schema, mode) = (literal_text(call.args.get(1)), literal_text(call.args.get(2)));
    let (Some(schema), true) = (schema, call.args.len() == 2 || mode.is_some()) else { return Ok(None) };
    if mode.map(mode_of).transpose()? == Some(true) {
        return Ok(None);
    }
    let whole = match &function.wanted {
        Some(wanted) => wanted.clone(),
        None => type_of(schema).map_err(external)?,
    };
    let wanted = part(&whole);
    Ok((wanted != whole).then(|| of_type(Some(wanted))))
}

fn literal_text(expr: Option<&Expr>) -> Option<&str> {
    match expr? {
        Expr::Literal(value, _) => value.try_as_str()?,
        _ => None,
    }
}

/// The fields of a struct and of those in it, as SQL reaches them.
fn paths(fields: &Fields) -> Vec<String> {
    let of = |field: &FieldRef| match field.data_type() {
        DataType::Struct(inner) => paths(inner).iter().map(|it| format!("{}.{it}", field.name())).collect(),
        _ => vec![field.name().clone()],
    };
    fields.iter().flat_map(of).collect()
}

/// `to_json(struct)`: one document a row; fields that are null are left out.
pub(crate) fn to_json() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ToJson { signature: Signature::any(1, Volatility::Immutable) }))
}

const FROM_JSON: &str = "from_json";

#[derive(Debug, PartialEq, Eq, Hash)]
struct FromJson {
    /// What explanations show.
    name: String,
    /// The part of the schema that is decoded; all of it if none.
    wanted: Option<DataType>,
    signature: Signature,
    spare: Decoders,
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        &self.name
    }

    /// The name of the column, whatever part of it is decoded.
    fn schema_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        let args: Vec<String> = args.iter().map(|it| it.schema_name().to_string()).collect();
        Ok(format!("{FROM_JSON}({})", args.join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let [document, schema, rest @ ..] = types else {
            return plan_err!("from_json: expected a document and a schema such as 'id INT, name STRING'");
        };
        let document = match document {
            it if it.is_string() || it.is_null() => DataType::Utf8,
            it if it.is_binary() => DataType::Binary,
            other => return plan_err!("from_json: expected STRING or BINARY, found {other}"),
        };
        if rest.len() > 1 || !schema.is_string() || !rest.iter().all(DataType::is_string) {
            return plan_err!("from_json: expected a document, a schema text and perhaps a mode");
        }
        Ok([document].into_iter().chain(types.iter().skip(1).map(|_| DataType::Utf8)).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        plan_err!("from_json: the type follows from the schema")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let Some(Some(schema)) = args.scalar_arguments.get(1) else {
            return plan_err!("from_json: the schema must be a constant such as 'id INT, name STRING'");
        };
        let found = match &self.wanted {
            Some(wanted) => wanted.clone(),
            None => type_of(schema.try_as_str().flatten().unwrap_or_default()).map_err(external)?,
        };
        if let Some(mode) = args.scalar_arguments.get(2) {
            let mode = mode.and_then(|it| it.try_as_str()).flatten();
            mode_of(mode.unwrap_or_default())?;
        }
        Ok(Arc::new(Field::new(FROM_JSON, found, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(documents) = args.args.first() else { return exec_err!("from_json: expected a document") };
        let documents = documents.to_array(args.number_rows)?;
        let strict = args.args.len() > 2 && mode_of(constant_text(args.args.get(2), "from_json: the mode")?)?;
        let mut decoder = self.spare.take(args.return_field.data_type(), strict)?;
        let rows = decoder.decode_array(&documents).map_err(external)?;
        self.spare.give(decoder, strict);
        Ok(ColumnarValue::Array(rows))
    }

    /// Bytes need not become text first.
    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult, DataFusionError> {
        let Some(Expr::ScalarFunction(inner)) = args.first_mut() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        if inner.func.name() != "lossy_string" || inner.args.len() != 1 {
            return Ok(ExprSimplifyResult::Original(args));
        }
        if let (Some(bytes), Some(first)) = (inner.args.pop(), args.first_mut()) {
            *first = bytes;
        }
        Ok(ExprSimplifyResult::Simplified(of_type(self.wanted.clone()).call(args)))
    }
}

/// The type that a schema text names; all its fields may be missing in a document and so are nullable.
fn type_of(text: &str) -> Result<DataType> {
    let wanted = match ddl::parse_schema(text) {
        Ok(schema) => DataType::Struct(schema.fields().clone()),
        Err(error) => ddl::parse_type(text).map_err(|_| error.within("from_json: schema"))?,
    };
    Ok(decoder(&wanted, false)?.data_type())
}

fn decoder(wanted: &DataType, strict: bool) -> Result<json::Decoder> {
    let mode = if strict { json::Mode::Fail } else { json::Mode::Permissive };
    json::Decoder::for_type(wanted, json::JsonOptions { mode, ..Default::default() })
        .map_err(|error| error.within("from_json"))
}

/// Decoders between batches: making one costs more than a small batch.
#[derive(Default)]
struct Decoders(Mutex<Vec<(bool, json::Decoder)>>);

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoders")
    }
}

impl Decoders {
    fn take(&self, wanted: &DataType, strict: bool) -> Result<json::Decoder, DataFusionError> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = spare.iter().position(|(mode, it)| *mode == strict && it.data_type() == *wanted);
        if let Some(index) = fit {
            return Ok(spare.swap_remove(index).1);
        }
        drop(spare);
        decoder(wanted, strict).map_err(external)
    }

    fn give(&self, decoder: json::Decoder, strict: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((strict, decoder));
    }
}

impl PartialEq for Decoders {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Decoders {}

impl std::hash::Hash for Decoders {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// True for FAILFAST.
fn mode_of(mode: &str) -> Result<bool, DataFusionError> {
    match mode.to_ascii_uppercase().as_str() {
        "PERMISSIVE" => Ok(false),
        "FAILFAST" => Ok(true),
        _ => plan_err!("from_json: mode '{mode}': expected PERMISSIVE or FAILFAST"),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    signature: Signature,
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        match types {
            [DataType::Struct(_) | DataType::List(_) | DataType::Map(..)] => Ok(DataType::Utf8),
            [other] => plan_err!("to_json: expected a STRUCT, ARRAY or MAP, found {other}"),
            _ => plan_err!("to_json: expected one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(values) = args.args.first() else { return exec_err!("to_json: expected an argument") };
        let values = values.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(json::encode(&values).map_err(external)?)))
    }
}
