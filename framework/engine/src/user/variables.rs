//! State variables: declared in `init`, used with the handle of a call.

use std::marker::PhantomData;
use std::time::Duration;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use tidegate_api::{Error, Result};

use super::TimeMode;
use super::handle::StateHandle;
use super::value::{StateType, StateValue, joined, one};

/// What a variable holds for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    List,
    /// By keys of this type.
    Map(DataType),
}

/// A variable as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) data_type: DataType,
    pub(crate) ttl: Option<Duration>,
}

impl Variable {
    /// For the layout of the state. How long values last is no part of it: each has its own end.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Value => format!("value {}: {}", self.name, self.data_type),
            Kind::List => format!("list {}: {}", self.name, self.data_type),
            Kind::Map(key) => format!("map {}: {key} to {}", self.name, self.data_type),
        }
    }
}

/// Takes what a processor declares. With a lifetime (processing time only) what is written is gone so long after it was
/// written (Spark: `TTLConfig`).
#[derive(Debug)]
pub struct StateVariables {
    time_mode: TimeMode,
    declared: Vec<Variable>,
}

impl StateVariables {
    pub(crate) fn new(time_mode: TimeMode) -> Self {
        Self { time_mode, declared: Vec::new() }
    }

    pub(crate) fn into_declared(self) -> Vec<Variable> {
        self.declared
    }

    /// What timers go by.
    pub fn time_mode(&self) -> TimeMode {
        self.time_mode
    }

    /// One value a key.
    ///
    /// # Errors
    /// `Config` if the name is taken, or a lifetime is not possible.
    pub fn get_value_state<T: StateType>(&mut self, name: &str, ttl: Option<Duration>) -> Result<ValueState<T>> {
        self.get_value_state_of(name, T::data_type(), ttl)
    }

    /// The same, of any type of Arrow.
    ///
    /// # Errors
    /// As `get_value_state`.
    pub fn get_value_state_of<T: StateValue>(
        &mut self,
        name: &str,
        data_type: DataType,
        ttl: Option<Duration>,
    ) -> Result<ValueState<T>> {
        let at = self.declare(Variable { name: name.to_owned(), kind: Kind::Value, data_type, ttl })?;
        Ok(ValueState { at, of: PhantomData })
    }

    /// Values in their order.
    ///
    /// # Errors
    /// As `get_value_state`.
    pub fn get_list_state<T: StateType>(&mut self, name: &str, ttl: Option<Duration>) -> Result<ListState<T>> {
        self.get_list_state_of(name, T::data_type(), ttl)
    }

    /// The same, of any type of Arrow.
    ///
    /// # Errors
    /// As `get_value_state`.
    pub fn get_list_state_of<T: StateValue>(
        &mut self,
        name: &str,
        data_type: DataType,
        ttl: Option<Duration>,
    ) -> Result<ListState<T>> {
        let at = self.declare(Variable { name: name.to_owned(), kind: Kind::List, data_type, ttl })?;
        Ok(ListState { at, of: PhantomData })
    }

    /// Values by keys of their own.
    ///
    /// # Errors
    /// As `get_value_state`.
    pub fn get_map_state<K: StateType, V: StateType>(
        &mut self,
        name: &str,
        ttl: Option<Duration>,
    ) -> Result<MapState<K, V>> {
        self.get_map_state_of(name, K::data_type(), V::data_type(), ttl)
    }

    /// The same, of any types of Arrow.
    ///
    /// # Errors
    /// As `get_value_state`.
    pub fn get_map_state_of<K: StateValue, V: StateValue>(
        &mut self,
        name: &str,
        key_type: DataType,
        data_type: DataType,
        ttl: Option<Duration>,
    ) -> Result<MapState<K, V>> {
        let at = self.declare(Variable { name: name.to_owned(), kind: Kind::Map(key_type), data_type, ttl })?;
        Ok(MapState { at, of: PhantomData })
    }

    fn declare(&mut self, variable: Variable) -> Result<usize> {
        let wrong = |why: &str| Err(Error::config(format!("state variable '{}': {why}", variable.name)));
        if variable.name.is_empty() {
            return wrong("expected a name");
        }
        if self.declared.iter().any(|it| it.name == variable.name) {
            return wrong("the name is taken; names of variables differ");
        }
        if variable.ttl.is_some_and(|it| it.as_micros() == 0) {
            return wrong("a lifetime must be longer than nothing");
        }
        if variable.ttl.is_some() && self.time_mode != TimeMode::ProcessingTime {
            return wrong("a lifetime is possible with processing time only");
        }
        self.declared.push(variable);
        Ok(self.declared.len() - 1)
    }
}

/// The number of a variable that has not been declared.
const UNDECLARED: usize = usize::MAX;

macro_rules! copies {
    ($($name:ident <$($of:ident),*>;)*) => {$(
        /// Not yet declared: it can't be used.
        impl<$($of),*> Default for $name<$($of),*> {
            fn default() -> Self {
                Self { at: UNDECLARED, of: PhantomData }
            }
        }

        impl<$($of),*> Clone for $name<$($of),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($of),*> Copy for $name<$($of),*> {}
    )*};
}

copies! {
    ValueState<T>;
    ListState<T>;
    MapState<K, V>;
}

/// One value a key (Spark: `ValueState`).
#[derive(Debug)]
pub struct ValueState<T> {
    at: usize,
    of: PhantomData<fn() -> T>,
}

impl<T: StateValue> ValueState<T> {
    /// True if there is a value.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn exists(&self, handle: &StateHandle<'_>) -> Result<bool> {
        Ok(handle.state(self.at)?.cells(self.at).next().is_some())
    }

    /// The value.
    ///
    /// # Errors
    /// `Config` if it is of another type.
    pub fn get(&self, handle: &StateHandle<'_>) -> Result<Option<T>> {
        let state = handle.state(self.at)?;
        state.cells(self.at).next().map(|it| state.read(it)).transpose()
    }

    /// Replaces it.
    ///
    /// # Errors
    /// `Config` if it is of another type.
    pub fn update(&self, handle: &mut StateHandle<'_>, value: &T) -> Result<()> {
        let value = handle.checked(self.at, one(value)?)?;
        let until = handle.until(self.at);
        let state = handle.state_mut(self.at)?;
        let known = state.cells(self.at).next();
        state.write(self.at, known, None, value, until);
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn clear(&self, handle: &mut StateHandle<'_>) -> Result<()> {
        handle.state_mut(self.at)?.clear(self.at);
        Ok(())
    }
}

/// Values in their order (Spark: `ListState`).
#[derive(Debug)]
pub struct ListState<T> {
    at: usize,
    of: PhantomData<fn() -> T>,
}

impl<T: StateValue> ListState<T> {
    /// True if there is a value.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn exists(&self, handle: &StateHandle<'_>) -> Result<bool> {
        Ok(handle.state(self.at)?.cells(self.at).next().is_some())
    }

    /// All values.
    ///
    /// # Errors
    /// `Config` if they are of another type.
    pub fn get(&self, handle: &StateHandle<'_>) -> Result<Vec<T>> {
        let state = handle.state(self.at)?;
        state.cells(self.at).map(|it| state.read(it)).collect()
    }

    /// Replaces all.
    ///
    /// # Errors
    /// `Config` if there is none, or they are of another type.
    pub fn put(&self, handle: &mut StateHandle<'_>, values: &[T]) -> Result<()> {
        let values = self.column(handle, values)?;
        handle.state_mut(self.at)?.clear(self.at);
        self.append(handle, &values)
    }

    /// Adds one behind the others.
    ///
    /// # Errors
    /// `Config` if it is of another type.
    pub fn append_value(&self, handle: &mut StateHandle<'_>, value: &T) -> Result<()> {
        self.append_list(handle, std::slice::from_ref(value))
    }

    /// Adds several behind the others.
    ///
    /// # Errors
    /// As `put`.
    pub fn append_list(&self, handle: &mut StateHandle<'_>, values: &[T]) -> Result<()> {
        let values = self.column(handle, values)?;
        self.append(handle, &values)
    }

    /// Removes all.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn clear(&self, handle: &mut StateHandle<'_>) -> Result<()> {
        handle.state_mut(self.at)?.clear(self.at);
        Ok(())
    }

    fn column(&self, handle: &StateHandle<'_>, values: &[T]) -> Result<ArrayRef> {
        if values.is_empty() {
            let name = handle.variable(self.at)?.name.clone();
            return Err(Error::config(format!("state variable '{name}': expected one value at least, found none")));
        }
        handle.checked(self.at, T::column(values)?)
    }

    fn append(&self, handle: &mut StateHandle<'_>, values: &ArrayRef) -> Result<()> {
        let until = handle.until(self.at);
        let state = handle.state_mut(self.at)?;
        (0..values.len()).for_each(|row| state.write(self.at, None, None, values.slice(row, 1), until));
        Ok(())
    }
}

/// Values by keys of their own (Spark: `MapState`).
#[derive(Debug)]
pub struct MapState<K, V> {
    at: usize,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: StateValue, V: StateValue> MapState<K, V> {
    /// True if there is a value for any key.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn exists(&self, handle: &StateHandle<'_>) -> Result<bool> {
        Ok(handle.state(self.at)?.cells(self.at).next().is_some())
    }

    /// True if there is a value for the key.
    ///
    /// # Errors
    /// `Config` if the key is of another type.
    pub fn contains_key(&self, handle: &mut StateHandle<'_>, key: &K) -> Result<bool> {
        let key = handle.checked_key(self.at, one(key)?)?;
        Ok(handle.state_mut(self.at)?.find(self.at, &key)?.is_some())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Config` if one of them is of another type.
    pub fn get_value(&self, handle: &mut StateHandle<'_>, key: &K) -> Result<Option<V>> {
        let key = handle.checked_key(self.at, one(key)?)?;
        let state = handle.state_mut(self.at)?;
        state.find(self.at, &key)?.map(|it| state.read(it)).transpose()
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `Config` if one of them is of another type.
    pub fn update_value(&self, handle: &mut StateHandle<'_>, key: &K, value: &V) -> Result<()> {
        let key = handle.checked_key(self.at, one(key)?)?;
        let value = handle.checked(self.at, one(value)?)?;
        let until = handle.until(self.at);
        let state = handle.state_mut(self.at)?;
        let known = state.find(self.at, &key)?;
        state.write_at(self.at, known, key, value, until)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `Config` if the key is of another type.
    pub fn remove_key(&self, handle: &mut StateHandle<'_>, key: &K) -> Result<()> {
        let key = handle.checked_key(self.at, one(key)?)?;
        let state = handle.state_mut(self.at)?;
        if let Some(known) = state.find(self.at, &key)? {
            state.remove(known);
        }
        Ok(())
    }

    /// All keys with their values, in no order that means anything.
    ///
    /// # Errors
    /// `Config` if they are of another type.
    pub fn entries(&self, handle: &StateHandle<'_>) -> Result<Vec<(K, V)>> {
        let state = handle.state(self.at)?;
        state.cells(self.at).map(|it| Ok((state.read_key(it)?, state.read(it)?))).collect()
    }

    /// Removes all.
    ///
    /// # Errors
    /// `Config` if the variable has not been declared.
    pub fn clear(&self, handle: &mut StateHandle<'_>) -> Result<()> {
        handle.state_mut(self.at)?.clear(self.at);
        Ok(())
    }
}

/// Cells of several calls as one column; nothing of none.
pub(crate) fn column_of(cells: &[ArrayRef]) -> Result<Option<ArrayRef>> {
    if cells.is_empty() { Ok(None) } else { joined(cells).map(Some) }
}
