//! Random documents and texts against other people's readers.

#[cfg(test)]
mod clean;
#[cfg(test)]
mod dirty;
#[cfg(test)]
mod support;
#[cfg(test)]
mod times;
#[cfg(test)]
mod values;
