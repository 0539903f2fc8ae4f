//! What names mean within one SELECT: the columns of its relations, its aliases, and the SELECTs around it.

use arrow_schema::{DataType, Fields};
use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{Ident, TableAlias};
use tidegate_api::{Error, Result};

use crate::error::place_at;

/// One relation of a FROM clause.
#[derive(Clone, Debug, Default)]
pub(super) struct Relation {
    /// What its columns can be qualified with.
    pub(super) name: Option<String>,
    pub(super) columns: Vec<(String, DataType)>,
}

impl Relation {
    pub(super) fn new(name: Option<&str>, schema: &DFSchema) -> Self {
        let columns = schema.fields().iter().map(|it| (it.name().clone(), it.data_type().clone())).collect();
        Self { name: name.map(str::to_owned), columns }
    }

    /// `AS t` or `AS t(a, b)`.
    pub(super) fn aliased(mut self, alias: Option<&TableAlias>) -> Self {
        if let Some(alias) = alias {
            self.name = Some(alias.name.value.clone());
            for (column, new) in self.columns.iter_mut().zip(&alias.columns) {
                column.0.clone_from(&new.name.value);
            }
        }
        self
    }
}

/// The names of one SELECT.
#[derive(Debug, Default)]
pub(super) struct Scope<'s> {
    pub(super) relations: Vec<Relation>,
    /// Names of the SELECT list, where they may be used.
    pub(super) aliases: Vec<String>,
    pub(super) outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    /// Gives `name` the spelling of the column or alias that it means; leaves a name that means nothing.
    pub(super) fn column(&self, name: &mut Ident) -> Result<()> {
        let columns = self.relations.iter().flat_map(|it| &it.columns).map(|(name, _)| name.as_str());
        if let Some(found) = spelling(name, columns)? {
            return respell(name, found);
        }
        if let Some(found) = spelling(name, self.aliases.iter().map(String::as_str))? {
            return respell(name, found);
        }
        self.outer.map_or(Ok(()), |outer| outer.column(name))
    }

    /// The same for `relation.column.field…` and `column.field…`.
    pub(super) fn compound(&self, parts: &mut [Ident]) -> Result<()> {
        let Some((first, rest)) = parts.split_first_mut() else { return Ok(()) };
        if let Some(relation) = self.named(first)?
            && let Some((second, fields)) = rest.split_first_mut()
            && let Some((name, data_type)) = column_of(relation, second)?
        {
            respell(first, relation.name.as_deref().unwrap_or_default())?;
            respell(second, name)?;
            return path(data_type, fields);
        }
        let columns = self.relations.iter().flat_map(|it| &it.columns);
        if let Some(found) = spelling(first, columns.clone().map(|(name, _)| name.as_str()))? {
            respell(first, found)?;
            let data_type = columns.clone().find(|(name, _)| *name == first.value).map(|(_, data_type)| data_type);
            return data_type.map_or(Ok(()), |data_type| path(data_type, rest));
        }
        self.outer.map_or(Ok(()), |outer| outer.compound(parts))
    }

    /// Gives the name of a relation, as in `t.*`, its spelling. False if there is none.
    pub(super) fn relation(&self, name: &mut Ident) -> Result<bool> {
        match self.named(name)?.and_then(|it| it.name.as_deref()) {
            Some(found) => respell(name, found).map(|()| true),
            None => Ok(false),
        }
    }

    /// The fields of the struct column that a name means.
    pub(super) fn struct_fields(&self, parts: &mut [Ident]) -> Result<Option<Fields>> {
        match parts {
            [] => return Ok(None),
            [name] => self.column(name)?,
            _ => self.compound(parts)?,
        }
        let names: Vec<&str> = parts.iter().map(|it| it.value.as_str()).collect();
        let found = self.relations.iter().find_map(|relation| match names.as_slice() {
            [table, rest @ ..] if relation.name.as_deref() == Some(table) && !rest.is_empty() => {
                struct_at(&relation.columns, rest).or_else(|| struct_at(&relation.columns, &names))
            }
            _ => struct_at(&relation.columns, &names),
        });
        Ok(found)
    }

    fn named(&self, name: &Ident) -> Result<Option<&Relation>> {
        let names = self.relations.iter().filter_map(|it| it.name.as_deref());
        let found = spelling(name, names)?;
        Ok(found.and_then(|found| self.relations.iter().find(|it| it.name.as_deref() == Some(found))))
    }
}

/// The one known name that `wanted` means: the same if there is one, else the only one that differs in case alone.
///
/// # Errors
/// `Config` if there are two of them.
pub(crate) fn spelling<'n>(wanted: &Ident, known: impl Iterator<Item = &'n str>) -> Result<Option<&'n str>> {
    let folded = wanted.value.to_lowercase();
    let mut found: Option<&str> = None;
    let mut rival = None;
    for name in known {
        if name == wanted.value {
            return Ok(Some(name));
        }
        if name.to_lowercase() == folded {
            match found {
                Some(first) if first != name => rival = Some(name),
                _ => found = Some(name),
            }
        }
    }
    match (found, rival) {
        (Some(first), Some(second)) => Err(Error::config(format!(
            "sql: name {}{} is ambiguous: {first} and {second} differ in case only",
            wanted.value,
            place_at(wanted.span)
        ))),
        _ => Ok(found),
    }
}

fn column_of<'r>(relation: &'r Relation, name: &Ident) -> Result<Option<&'r (String, DataType)>> {
    let found = spelling(name, relation.columns.iter().map(|(name, _)| name.as_str()))?;
    Ok(found.and_then(|found| relation.columns.iter().find(|(name, _)| name == found)))
}

fn struct_at(columns: &[(String, DataType)], names: &[&str]) -> Option<Fields> {
    let (first, rest) = names.split_first()?;
    let mut data_type = &columns.iter().find(|(name, _)| name == first)?.1;
    for name in rest {
        let DataType::Struct(fields) = data_type else { return None };
        data_type = fields.iter().find(|it| it.name() == name)?.data_type();
    }
    match data_type {
        DataType::Struct(fields) => Some(fields.clone()),
        _ => None,
    }
}

/// Names of fields within structs.
fn path(mut data_type: &DataType, names: &mut [Ident]) -> Result<()> {
    for name in names {
        let DataType::Struct(fields) = data_type else { return Ok(()) };
        let Some(found) = spelling(name, fields.iter().map(|it| it.name().as_str()))? else { return Ok(()) };
        respell(name, found)?;
        let Some(field) = fields.iter().find(|it| it.name() == found) else { return Ok(()) };
        data_type = field.data_type();
    }
    Ok(())
}

fn respell(name: &mut Ident, found: &str) -> Result<()> {
    if name.value != found {
        found.clone_into(&mut name.value);
    }
    Ok(())
}
